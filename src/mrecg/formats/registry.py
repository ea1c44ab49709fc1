"""Every export format by its name: how its file is written, checked for and opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mrecg.config.schema import RunConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.formats.check import Subject
from mrecg.formats.checkpoint import Quantized
from mrecg.registry import FORMATS


@dataclass(frozen=True)
class Made:
    """A file that is not written yet.

    Attributes:
        content: Its bytes.
        subjects: What runs the content, each way that there is: compared with the network before it is
            written.
        stored: In how many bits it stores an integer of so many bits.
        opset: Of ONNX; None for other formats.
    """

    content: bytes
    subjects: Sequence[Subject]
    stored: Callable[[int], int]
    opset: int | None = None


def _nothing(quantized: Quantized, opset: int | None) -> None:
    """Refuse nothing."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """An export format.

    Attributes:
        file: What its file is called in a run folder; the suffix is that of all its files.
        make: Makes the content for a network, its configuration and the shape (C, H, W) of an image; the last
            argument is the opset, None where none was asked for.
        refuse: Raises `ConfigError` before any work where a network cannot be written, or a package is
            missing.
        opset: Whether an opset may be asked for.
        keeps_images: Whether the file itself says what may not be said of its images elsewhere.
        open: Opens a file (the second argument says whether code that it names may run); gives a module from
            images to logits on the CPU, and what it wants its images to be. None: such files are not
            evaluated, or another format of the same suffix opens them.
    """

    file: str
    make: Callable[[Quantized, RunConfig, tuple[int, ...], int | None], Made]
    refuse: Callable[[Quantized, int | None], None] = _nothing
    opset: bool = False
    keeps_images: bool = False
    open: Callable[[Path, bool], tuple[nn.Module, Preprocessing | None]] | None = None

    @property
    def suffix(self) -> str:
        """What its files end with."""
        return Path(self.file).suffix


def register(name: str, made: Format) -> Format:
    """Register a format.

    Args:
        name: By which it is chosen: ``mrecg export RUN format=NAME``.

    Raises:
        ConfigError: The name is taken, or is no name.
    """
    added: Format = FORMATS.add(name, made)
    return added


def format_named(name: str) -> Format:
    """Find a format by its name; raises `ConfigError` where there is none."""
    found: Format = FORMATS.get(name)
    return found
