"""Which images were drawn: seeded, named and hashed, so that two runs can be seen to use the same ones."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mrecg.errors import DataError


class Digest(Protocol):
    """A running hash, for example ``hashlib.sha256()``."""

    def update(self, data: Any, /) -> None:
        """Take more bytes in."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The images of one part of a run, calibration or evaluation.

    Attributes:
        images: The number of images.
        available: The number of images that they were drawn from.
        seed: The seed of the draw; None if nothing was drawn.
        sha256: A hash of what they are: of names and normalised pixels for calibration, of names and labels
            for evaluation.
        names: The name of each image: its path below the configured folder, with ``/``, or its index in the
            data set. The list is empty for tensors passed in Python.
    """

    images: int
    available: int
    seed: int | None
    sha256: str
    names: tuple[str, ...]

    def brief(self) -> dict[str, Any]:
        """All but the names, as plain values."""
        return {key: value for key, value in self.as_dict().items() if key != "names"}

    def as_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {**asdict(self), "names": list(self.names)}


def draw(available: int, count: int, *, seed: int, what: str, every: str = "all") -> list[int]:
    """Draw images without replacement.

    Args:
        count: How many are wanted.
        seed: Seed of the draw.
        what: The config key that asked, for the message.
        every: Its value that asks for all of them.

    Returns:
        Ascending indices.

    Raises:
        DataError: There are too few.
    """
    if count > available:
        remedy = f"; set {what}={available}, or {every} for all" if available else ""
        raise DataError(f"{what}: {count} images are asked for, and there are {available}{remedy}")
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed))
    return sorted(order[:count].tolist())


def evenly(images: int, count: int) -> Tensor:
    """Choose images of the whole range: who calls from Python may have theirs sorted by class.

    Args:
        images: How many there are.
        count: How many are chosen, at most.

    Returns:
        Their numbers, ascending.
    """
    count = min(images, count)
    return torch.arange(count) * images // max(count, 1)


def add_tensor(digest: Digest, tensor: Tensor) -> None:
    """Hash a tensor: type, shape and values, whatever its device and its order in memory."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    # A flat array is hashed in place; tobytes() would copy what may be a gigabyte of images.
    digest.update(tensor.detach().cpu().numpy().ravel())


def digest_of(names: Iterable[str], tensor: Tensor) -> str:
    """Hash names and a tensor.

    Args:
        names: One an image.
        tensor: Pixels or labels.

    Returns:
        The SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in names:
        digest.update(os.fsencode(name) + b"\0")  # file names need not be UTF-8
    add_tensor(digest, tensor)
    return digest.hexdigest()
