"""Calibration and evaluation images behind one record, whatever their source."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from mrecg.config.build import existing
from mrecg.config.inputs import DataConfig
from mrecg.data import digits
from mrecg.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Images:
    """What a run sees.

    Attributes:
        name: For tables and summaries.
        calibration: Unlabelled images of shape (N, C, H, W), normalised.
        evaluation: Pairs of image and label; None where there is nothing to evaluate on.
        batch_size: Images a batch of `batches`.
    """

    name: str
    calibration: Tensor
    evaluation: Dataset[tuple[Tensor, int]] | None
    batch_size: int

    def __len__(self) -> int:
        return 0 if self.evaluation is None else len(self.evaluation)  # type: ignore[arg-type]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the evaluation images in order.

        Yields:
            Images of shape (B, C, H, W) and labels of shape (B,).
        """
        if self.evaluation is not None:
            yield from DataLoader(self.evaluation, batch_size=self.batch_size)


def draw(available: int, count: int, *, seed: int, what: str) -> list[int]:
    """Draw images without replacement.

    Args:
        available: How many there are.
        count: How many are wanted.
        seed: Seed of the draw.
        what: The config key that asked, for the message.

    Returns:
        Ascending indices.

    Raises:
        DataError: There are too few.
    """
    if count > available:
        raise DataError(f"{what}: {count} images are asked for, and there are {available}")
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed))
    return sorted(order[:count].tolist())


def load(config: DataConfig, *, input_shape: tuple[int, int, int]) -> Images:
    """Load what the config names.

    Args:
        config: The data group.
        input_shape: Channels, height and width that the model takes, pixels.

    Returns:
        The images.

    Raises:
        DataError: There is no image, too few, or of the wrong shape.
        ConfigError: A path does not exist.
    """
    if config.source == "none":
        raise DataError("data=none has no images; it serves `mrecg plan` with planner=modcap or published")
    if config.source == "python":
        raise ConfigError(
            "data.source: python is for images passed to mrecg.quantize; choose a group data=..."
        )
    calibration, evaluation = _digits(config) if config.source == "digits" else _folders(config, input_shape)
    if tuple(calibration.shape[1:]) != tuple(input_shape):
        raise DataError(
            f"data={config.name} has images of shape {tuple(calibration.shape[1:])}, "
            f"the model takes {tuple(input_shape)}; see model.input_shape"
        )
    if evaluation is not None and config.evaluation_images is not None:
        size: int = len(evaluation)  # type: ignore[arg-type]
        chosen = draw(size, config.evaluation_images, seed=config.seed, what="data.evaluation_images")
        evaluation = Subset(evaluation, chosen)
    return Images(config.name, calibration, evaluation, config.batch_size)


def _digits(config: DataConfig) -> tuple[Tensor, Dataset[tuple[Tensor, int]]]:
    images, _ = digits.split("train")
    chosen = draw(len(images), config.calibration_images, seed=config.seed, what="data.calibration_images")
    return images[chosen], TensorDataset(*digits.split("test"))  # type: ignore[return-value]


def _folders(
    config: DataConfig, shape: tuple[int, int, int]
) -> tuple[Tensor, Dataset[tuple[Tensor, int]] | None]:
    from torchvision import datasets, transforms

    assert config.calibration_path is not None
    steps = [transforms.Resize(config.resize)] if config.resize else []
    transform = transforms.Compose(
        [
            *steps,
            transforms.CenterCrop(shape[1:]),
            transforms.ToTensor(),
            transforms.Normalize(config.mean, config.std),
        ]
    )
    files = image_files(existing(config.calibration_path, "data.calibration_path"))
    chosen = draw(len(files), config.calibration_images, seed=config.seed, what="data.calibration_images")
    calibration = torch.stack([transform(_picture(str(files[i]))) for i in chosen])
    if config.evaluation_path is None:
        return calibration, None
    path = existing(config.evaluation_path, "data.evaluation_path")
    try:
        folder = datasets.ImageFolder(path, transform, loader=_picture)
    except FileNotFoundError as error:
        raise DataError(f"data.evaluation_path: wants a sub-folder of images a class: {error}") from error
    if config.classes_path is not None:
        _relabel(folder, existing(config.classes_path, "data.classes_path"))
    return calibration, folder


def image_files(folder: Path) -> list[Path]:
    """All images below a folder, sorted.

    Args:
        folder: Where to look, at any depth.

    Returns:
        Their paths.

    Raises:
        DataError: There is none.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    if not files:
        raise DataError(f"{folder}: holds no image ({', '.join(IMG_EXTENSIONS)})")
    return files


def _picture(path: str) -> "Image":
    from torchvision.datasets.folder import default_loader

    try:
        picture: Image = default_loader(path)
    except OSError as error:
        raise DataError(f"{path}: is no image that can be read ({error})") from error
    return picture


def _relabel(folder: "object", classes: Path) -> None:
    """Number the classes by a full list of names, where the evaluation folder has only some of them."""
    from torchvision.datasets import ImageFolder

    assert isinstance(folder, ImageFolder)
    names = sorted(path.name for path in classes.iterdir() if path.is_dir())
    number = {name: i for i, name in enumerate(names)}
    missing = [name for name in folder.classes if name not in number]
    if missing:
        raise DataError(
            f"data.classes_path: {classes} has no class {missing[0]} ({len(missing)} are missing)"
        )
    folder.samples = [(path, number[folder.classes[label]]) for path, label in folder.samples]
