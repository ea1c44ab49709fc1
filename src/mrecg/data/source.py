"""What every source of images gives: parts whose images have names and are read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.registry import DATA

Read = Callable[[int], tuple[Tensor, int | None]]
"""Reads one image by its index: shape (C, H, W), float32, normalised; and its label, or None."""


@dataclass(frozen=True)
class Labels:
    """Labels that are known before any image is read.

    Attributes:
        source: Where they are from, for messages.
        classes: How many classes they were numbered by; None: each is a number itself.
        counted: What was counted, in the plural.
        notes: What a user should know about how they were numbered.
    """

    values: Sequence[int]
    source: str
    classes: int | None = None
    counted: str = "names"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """The images that calibration or evaluation can draw from; none of them is decoded yet.

    Attributes:
        names: One an image, in an order that is the same on every machine.
        read: Reads one image; can be sent to other processes.
        labels: Of all images; None where there are none, or only reading shows them.
    """

    names: Sequence[str]
    read: Read
    labels: Labels | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Source:
    """A source's two parts; each is looked at only when it is wanted.

    Attributes:
        calibration: Images to calibrate with, whose labels are not used.
        evaluation: Labelled images; None where the config names none.
    """

    calibration: Callable[[DataConfig, Preprocessing], Part]
    evaluation: Callable[[DataConfig, Preprocessing], Part | None]


def register(name: str, source: Source) -> Source:
    """Register a source of images.

    Args:
        name: By which it is chosen: ``data=NAME``. It may use any key of the data group; keyword arguments of
            its own come in ``data.calibration_arguments`` and ``data.evaluation_arguments``.

    Raises:
        ConfigError: The name is taken, or is no name.
    """
    added: Source = DATA.add(name, source)
    return added


@dataclass(frozen=True)
class Stored:
    """Images that are in memory.

    Attributes:
        images: Normalised, of shape (N, C, H, W).
        labels: Of shape (N,).
    """

    images: Tensor
    labels: Tensor

    def part(self) -> Part:
        """All of them, named by their indices."""
        return Part([str(i) for i in range(len(self.labels))], self.read)

    def read(self, index: int) -> tuple[Tensor, int | None]:
        """Give one image and its label."""
        return self.images[index], int(self.labels[index])
