"""Writing a quantized network to a file, and only where the file does what the network does."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrecg.config.schema import RunConfig
from mrecg.data import images as data
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError, one_of
from mrecg.formats.check import Agreement, compare
from mrecg.formats.checkpoint import Quantized
from mrecg.formats.registry import format_named
from mrecg.models.preprocessing import told
from mrecg.quant.modules import layers_of
from mrecg.quant.size import quantized_bytes
from mrecg.registry import FORMATS
from mrecg.system.atomic_write import write_durably

IMAGES = 256
"""Images that a file is checked on, unless more or fewer are asked for."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        format: The format: ``onnx``, ``onnx_int8``, ``pt2``, ``packed``, or that of another package.
        file: The file.
        bytes: The size of the file.
        by_bits: The bytes that the network takes by its bits alone.
        fp: The bytes that it took in float32.
        containers: How many weights are stored in how many bits, by their own bits: ``{"3": {"4": 9408}}``.
        opset: The opset of ONNX; None for other formats.
        agreements: How well it agrees with the network, once for each way of running it.
    """

    format: str
    file: Path
    bytes: int
    by_bits: int
    fp: int
    containers: dict[str, dict[str, int]]
    opset: int | None
    agreements: tuple[Agreement, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {key: value for key, value in vars(self).items() if key != "agreements"}
        return {
            **values,
            "file": str(self.file),
            "agreements": [agreement.as_dict() for agreement in self.agreements],
        }


def refuse(quantized: Quantized, form: str, opset: int | None = None) -> None:
    """See to what can be known before any work: whether a network can be written in a format.

    Args:
        form: ``onnx``, ``onnx_int8``, ``pt2``, ``packed``, or a format of another package.
        opset: That was asked for.

    Raises:
        ConfigError: The format or opset is unknown, they do not go together, a package is missing, or the
            network is not what the format takes.
    """
    chosen = format_named(form)
    if opset is not None and not chosen.opset:
        raise ConfigError(f"opset: goes with format=onnx, not with {form}")
    chosen.refuse(quantized, opset)


def export(
    quantized: Quantized,
    config: RunConfig,
    file: Path,
    *,
    form: str,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    opset: int | None = None,
    named: bool = False,
) -> Exported:
    """Write a network to a file, after the file's content was run and compared with the network.

    Args:
        quantized: The hardened network, in float32, on the CPU.
        file: Where to; its folder must be there.
        form: ``onnx``, ``onnx_int8``, ``pt2``, ``packed``, or a format of another package.
        batches: Images to compare on, of shape (B, C, H, W), preprocessed, with labels of shape (B,) where
            there are some.
        opset: For ``onnx``: 18 to 25; None: the lowest with a type as narrow as there is for every weight.
        named: Whether the user has named this very file, see `write_durably`.

    Returns:
        What was written, and how well it agrees.

    Raises:
        ConfigError: The format or opset is unknown, or a package is missing.
        ExportError: The network cannot be written, or the file differs where nothing lies on an edge; no
            file is left.
    """
    refuse(quantized, form, opset)
    batches = iter(batches)
    first = next(batches, None)
    if first is None or not len(first[0]):
        raise ConfigError("images: there is none to compare the file on; give at least 1")
    chosen = format_named(form)
    shown = quantized if chosen.keeps_images else _told(quantized, config)
    made = chosen.make(shown, config, tuple(first[0].shape[1:]), opset)
    agreements = compare(quantized.model, made.subjects, chain([first], batches))
    write_durably(file, made.content, follow=named)
    sizes = quantized_bytes(quantized.network)
    return Exported(
        format=form,
        file=file,
        bytes=len(made.content),
        by_bits=sizes["quantized"],
        fp=sizes["fp"],
        containers=_containers(quantized, made.stored),
        opset=made.opset,
        agreements=tuple(agreements),
    )


def format_of(file: Path, form: str | None) -> str:
    """Decide the format of a file.

    Args:
        file: The file to write.
        form: The format asked for; None: the first one with the file's ending.

    Raises:
        ConfigError: The format or ending is unknown, or they do not go together.
    """
    if form is not None:
        wanted = format_named(form).suffix
        if file.suffix != wanted:
            raise ConfigError(
                f"path: {file.name} ends with {file.suffix}, files of format={form} with {wanted}"
            )
        return form
    endings = {name: format_named(name).suffix for name in FORMATS}
    found = [name for name, suffix in endings.items() if suffix == file.suffix]
    if not found:
        raise one_of("path", file.suffix, dict.fromkeys(endings.values()))
    return found[0]


def _told(quantized: Quantized, config: RunConfig) -> Quantized:
    """The network with what may be said of its images."""
    return replace(quantized, preprocessing=told(quantized.preprocessing, config.data))


def _containers(quantized: Quantized, stored: Callable[[int], int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for layer in layers_of(quantized.model):
        row = found.setdefault(str(layer.bits), {})
        key = str(stored(layer.bits))
        row[key] = row.get(key, 0) + layer.integers.numel()
    return found


def images_of(
    config: RunConfig, preprocessing: Preprocessing, count: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Take images to compare on: those for evaluation first, then those of the calibration.

    Args:
        preprocessing: What they are made into.
        count: How many, at most.

    Yields:
        Images, and labels where there are some.

    Raises:
        ConfigError: The images were passed from Python, or a path does not exist.
        DataError: An image cannot be read.
    """
    if config.data.source == "python":
        raise ConfigError(
            "data: the run's images were passed from Python; name others by data=..., or call mrecg.export"
        )
    labelled = data.load(config.data, preprocessing=preprocessing, calibration=False)
    left = count
    for x, labels in labelled.batches():
        if left <= 0:
            return
        yield x[:left], labels[:left]
        left -= len(x)
    if left > 0:
        more = data.load(config.data, preprocessing=preprocessing).calibration[:left]
        for x in torch.split(more, config.data.batch_size):
            yield x, None
