"""Images of any Dataset class or function that can be imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from mrecg.config.inputs import DataConfig
from mrecg.config.validate import imported
from mrecg.data.labels import LARGEST_LABEL
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.source import Part, Source, register
from mrecg.data.transform import Transform
from mrecg.errors import ConfigError, DataError, MrecgError, out_of_memory, short
from mrecg.system.redaction import reveal, without_secrets

ITEM = "an image, or a tuple of image, label, ..."
IMAGE = (
    "a PIL image, uint8 pixels (tensor of shape (C, H, W) or array of (H, W, C)), "
    "or a float tensor that is preprocessed already"
)


@dataclass(frozen=True)
class _Items:
    """The items of a data set.

    Attributes:
        dataset: Has a length and gives items by index: an image, or a tuple of image, label and more. A PIL
            image and uint8 pixels are preprocessed, a float tensor is taken as preprocessed already.
        labelled: The labels are wanted.
        transform: Makes a picture into what the model takes.
        name: The config key, for messages.
    """

    dataset: Any
    labelled: bool
    transform: Transform
    name: str

    def read(self, index: int) -> tuple[Tensor, int | None]:
        name = f"{self.name}: item {index}"
        try:
            item = self.dataset[index]
        except MrecgError:
            raise
        except Exception as error:  # whatever a data set does with what it cannot read
            if out_of_memory(error):
                raise
            reason = short(without_secrets(str(error)), 200)
            raise DataError(f"{name} cannot be read: {type(error).__name__}: {reason}") from error
        parts = tuple(item) if isinstance(item, tuple | list) else (item,)
        if not parts:
            raise DataError(f"{name} is empty; wants {ITEM}")
        image = self._image(parts[0], name)
        if not self.labelled:
            return image, None
        if len(parts) < 2:
            raise DataError(f"{name} is {_kind(item)} without a label; wants a tuple of image, label, ...")
        return image, _label(parts[1], name)

    def _image(self, image: Any, name: str) -> Tensor:
        if isinstance(image, Tensor) and image.is_floating_point():
            return image.to(torch.float32)
        if isinstance(image, Image.Image):
            return self.transform(image, name)
        if isinstance(image, Tensor | np.ndarray) and image.dtype in (torch.uint8, np.uint8):
            return self.transform(_picture(image, name), name)
        raise DataError(f"{name} has an image of type {_kind(image)}; wants {IMAGE}")


def _picture(pixels: "Tensor | np.ndarray[Any, Any]", name: str) -> Image.Image:
    from torchvision.transforms.functional import to_pil_image

    try:
        picture: Image.Image = to_pil_image(pixels)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} has pixels of shape {tuple(pixels.shape)}; wants {IMAGE}") from error
    return picture


def _label(label: Any, name: str) -> int:
    single = isinstance(label, np.generic) or (isinstance(label, Tensor) and label.numel() == 1)
    scalar = label.item() if single else label
    if isinstance(scalar, bool) or not isinstance(scalar, int):
        raise DataError(f"{name} has a label of type {_kind(label)}; wants a whole number")
    if scalar < 0:
        raise DataError(f"{name} has the label {_short(scalar)}; wants 0 or more")
    if scalar > LARGEST_LABEL:
        raise DataError(f"{name} has the label {_short(scalar)}, more than any model has outputs")
    return scalar


def _short(number: int) -> str:
    """A number, unless Python would refuse to write it, or it would be too long to read."""
    return str(number) if number.bit_length() <= 64 else f"of {number.bit_length():,} bits"


def _kind(value: Any) -> str:
    """Type of a value; with what it holds, where this says more."""
    name = type(value).__name__
    return f"{name} of {value.dtype}" if isinstance(value, Tensor | np.ndarray) else name


def _part(
    key: str, path: str, arguments: Mapping[str, Any], config: DataConfig, preprocessing: Preprocessing
) -> Part:
    name = f"data.{key}_dataset"
    try:
        make = imported(path)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    if not callable(make):
        raise ConfigError(f"{name}: {path} is {type(make).__name__}; give a class or a function")
    try:
        dataset = make(**reveal(dict(arguments)))
    except (Exception, SystemExit) as error:  # whatever a constructor does with what it cannot use
        if out_of_memory(error):
            raise
        reason = short(without_secrets(" ".join(str(error).split()) or type(error).__name__), 300)
        raise ConfigError(f"data.{key}_arguments: {path} refuses {dict(arguments)}: {reason}") from error
    if isinstance(dataset, IterableDataset) or not all(
        hasattr(dataset, method) for method in ("__len__", "__getitem__")
    ):
        raise DataError(
            f"{name}: {path} gives {type(dataset).__name__}; "
            f"wants a data set with a length and items by index"
        )
    items = _Items(dataset, key == "evaluation", Transform.of(config, preprocessing), name)
    return Part([str(i) for i in range(len(dataset))], items.read)


def _calibration(config: DataConfig, preprocessing: Preprocessing) -> Part:
    path, arguments = config.calibration_dataset, config.calibration_arguments
    assert path is not None
    return _part("calibration", path, arguments, config, preprocessing)


def _evaluation(config: DataConfig, preprocessing: Preprocessing) -> Part | None:
    path, arguments = config.evaluation_dataset, config.evaluation_arguments
    return None if path is None else _part("evaluation", path, arguments, config, preprocessing)


register("dataset", Source(_calibration, _evaluation))
