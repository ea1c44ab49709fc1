"""CIFAR-10 and CIFAR-100 from the files of their authors, by torchvision's reader."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.config.validate import existing
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.source import Part, Source, register
from mrecg.data.transform import Transform
from mrecg.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Pixels:
    """One of the two parts.

    Attributes:
        pixels: Of shape (N, 32, 32, 3).
        labels: One an image.
        transform: Makes a picture into what the model takes.
        name: For messages.
    """

    pixels: "NDArray[np.uint8]"
    labels: list[int]
    transform: Transform
    name: str

    def read(self, index: int) -> tuple[Tensor, int | None]:
        picture = Image.fromarray(self.pixels[index])
        return self.transform(picture, f"{self.name} item {index}"), self.labels[index]


def _part(config: DataConfig, preprocessing: Preprocessing, *, train: bool) -> Part:
    from torchvision import datasets

    reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[config.source]
    assert config.calibration_path is not None
    root = existing(config.calibration_path, "data.calibration_path")
    if config.evaluation_path is not None:
        raise ConfigError(
            f"data.evaluation_path: {config.evaluation_path} is not read with data.source={config.source}, "
            f"whose test part is in data.calibration_path; set it to null"
        )
    try:
        # It compares every file with the MD5 sum that it knows before it unpickles one.
        read = reader(str(root), train=train, download=False)
    except RuntimeError as error:
        name = reader.__name__
        what = f"from torchvision.datasets import {name}; {name}({str(root)!r}, download=True)"
        raise DataError(
            f"data.calibration_path: {root} has no complete {reader.base_folder}; "
            f'python -c "{what}" downloads it'
        ) from error
    pixels = _Pixels(read.data, read.targets, Transform.of(config, preprocessing), f"data={config.name}")
    return Part([str(i) for i in range(len(read.targets))], pixels.read)


def _calibration(config: DataConfig, preprocessing: Preprocessing) -> Part:
    return _part(config, preprocessing, train=True)


def _evaluation(config: DataConfig, preprocessing: Preprocessing) -> Part:
    return _part(config, preprocessing, train=False)


register("cifar10", Source(_calibration, _evaluation))
register("cifar100", Source(_calibration, _evaluation))
