"""Data sets of every kind that data=dataset takes or refuses; images are 20 x 18 pixels or smaller."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset


def pixels(index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random colours that depend on the index alone; shape (20, 18, 3)."""
    return np.random.default_rng(index).integers(0, 256, (20, 18, 3), dtype=np.uint8)


def preprocessed(index: int) -> Tensor:
    """Normal numbers that depend on the index alone; shape (3, 16, 16)."""
    return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(index))


MAKE: dict[str, Callable[[int], Any]] = {
    "picture": lambda i: Image.fromarray(pixels(i)),
    "array": pixels,
    "tensor": lambda i: torch.from_numpy(pixels(i)).permute(2, 0, 1),
    "float": preprocessed,
    "double": lambda i: preprocessed(i).double(),
    "small": lambda i: torch.zeros(3, 8, 8),
    "channels last": lambda i: torch.from_numpy(pixels(i)),
    "float array": lambda i: pixels(i) / 255,
    "integers": lambda i: torch.from_numpy(pixels(i)).long(),
    "dict": lambda i: {"image": i},
    "nothing": lambda i: (),
}


class Squares(Dataset[Any]):
    """Images of one kind, each with a label of one kind and a note, or alone."""

    def __init__(self, size: int = 6, kind: str = "picture", label: str | None = "int") -> None:
        if size < 0:
            raise ValueError("size must be 0 or more")
        self.size, self.kind, self.label = size, kind, label

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        image = MAKE[self.kind](index)
        if self.label is None:
            return image
        labels = {
            "int": index % 3,
            "tensor": torch.tensor(index % 3),
            "numpy": np.int64(index % 3),
            "text": "cat",
            "float": 1.0,
            "bool": True,
            "several": torch.tensor([1, 2]),
            "negative": -1,
        }
        return image, labels[self.label], "a note"


def as_list(size: int) -> list[Any]:
    """A function in the place of a class."""
    return [Squares(size)[i] for i in range(size)]


class Stream(IterableDataset[Any]):
    """Has no length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(as_list(2))


class SizedStream(Stream):
    """Has a length, and still no items by index."""

    def __len__(self) -> int:
        return 4


class Endless(Dataset[Any]):
    """Items by index without a length."""

    def __getitem__(self, index: int) -> Any:
        return Squares()[index]


NUMBER = 3
