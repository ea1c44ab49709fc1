"""Writing a quantized network to a file, and only where the file does what the network does."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from mrecg.formats.check import Agreement, Subject, compare
from mrecg.formats.checkpoint import Quantized, dump, fill
from mrecg.formats.lower import container
from mrecg.formats.packed import loads
from mrecg.formats.program import open_program, to_program
from mrecg.formats.runners import onnx_runtime
from mrecg.formats.subjects import ModuleSubject, OnnxSubject, TorchSubject
from mrecg.models.preprocessing import told
from mrecg.quant.modules import layers_of
from mrecg.quant.size import quantized_bytes
from mrecg.runs.layout import WEIGHTS
from mrecg.system.atomic_write import write_durably

FILES = {
    "onnx": "quantized.onnx",
    "onnx_int8": "quantized-int8.onnx",
    "pt2": "quantized.pt2",
    "packed": WEIGHTS,
}
"""What a format's file is called in a run folder."""
ENDINGS = {form: Path(name).suffix for form, name in FILES.items()}
"""What a format's file ends with."""
IMAGES = 256
"""Images that a file is checked on, unless more or fewer are asked for."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        format: ``onnx``, ``onnx_int8`` (for integer kernels), ``pt2`` or ``packed``.
        file: Where it is.
        bytes: Its size.
        by_bits: What the network takes by its bits alone, bytes (`mrecg.formats.checkpoint.quantized_bytes`).
        fp: What it took in float32, bytes.
        containers: How many weights are stored in how many bits, by their own bits: ``{"3": {"4": 9408}}``.
        opset: Of ONNX; None for other formats.
        agreements: How well it agrees with the network; one for each way of running it.
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
        quantized: The network.
        form: ``onnx``, ``onnx_int8``, ``pt2`` or ``packed``.
        opset: That was asked for.

    Raises:
        ConfigError: The format or opset is unknown, they do not go together, a package is missing, or the
            network is not what the format takes.
    """
    if form not in FILES:
        raise one_of("format", form, FILES)
    if not form.startswith("onnx"):
        if opset is not None:
            raise ConfigError(f"opset: goes with format=onnx, not with {form}")
        return
    onnx_runtime()
    try:
        from mrecg.formats import onnx_file, onnx_integer
    except ImportError as error:
        raise ConfigError(
            f"format={form}: {error.name} is not installed; pip install 'mrecg[export]'"
        ) from error
    lowest, highest = onnx_file.OPSETS
    if opset is not None and not lowest <= opset <= highest:
        raise ConfigError(f"opset: {opset} is not right; choose from {lowest} to {highest}")
    if form == "onnx_int8":
        onnx_integer.check_integer(quantized.model)


def export(
    quantized: Quantized,
    config: RunConfig,
    file: Path,
    *,
    form: str,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    opset: int | None = None,
    progress: Callable[[int], None] | None = None,
    named: bool = False,
) -> Exported:
    """Write a network to a file, after the file's content was run and compared with the network.

    Args:
        quantized: The hardened network, in float32, on the CPU.
        config: The configuration of its run.
        file: Where to; its folder must be there.
        form: ``onnx``, ``onnx_int8``, ``pt2`` or ``packed``.
        batches: Images to compare on, of shape (B, C, H, W), preprocessed, with labels of shape (B,) where
            there are some.
        opset: For ``onnx``: 18 to 25; None: the lowest with a type as narrow as there is for every weight.
        progress: Called behind each batch with the number of its images.
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
    maker = {"onnx": _onnx, "onnx_int8": _onnx_int8, "pt2": _program, "packed": _packed}[form]
    # A packed file says by itself what is not known, and needs the shape.
    shown = quantized if form == "packed" else _told(quantized, config)
    made = maker(shown, config, tuple(first[0].shape[1:]), opset)
    agreements = compare(quantized.model, made.subjects, chain([first], batches), progress=progress)
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

    Returns:
        The format.

    Raises:
        ConfigError: The format or ending is unknown, or they do not go together.
    """
    if form is not None and form not in FILES:
        raise one_of("format", form, FILES)
    found = [one for one, ending in ENDINGS.items() if ending == file.suffix]
    if not found:
        raise one_of("path", file.suffix, dict.fromkeys(ENDINGS.values()))
    if form is not None and form not in found:
        raise ConfigError(
            f"path: {file.name} ends with {file.suffix}, files of format={form} with {ENDINGS[form]}"
        )
    return form or found[0]


@dataclass(frozen=True)
class _Made:
    """A file's content, what runs it, in how many bits it stores integers of so many bits, and its opset."""

    content: bytes
    subjects: Sequence[Subject]
    stored: Callable[[int], int]
    opset: int | None = None


def _told(quantized: Quantized, config: RunConfig) -> Quantized:
    """The network with what may be said of its images."""
    return replace(quantized, preprocessing=told(quantized.preprocessing, config.data))


def _packed(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> _Made:
    content = dump(quantized.network, config, quantized.preprocessing)
    return _Made(content, [ModuleSubject(_again(content, quantized))], lambda bits: bits)


def _program(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> _Made:
    content = to_program(quantized, name=config.model.name, shape=shape)
    return _Made(content, [TorchSubject(open_program(content)[0].module())], container)


def _onnx_int8(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> _Made:
    return _onnx(quantized, config, shape, opset, integer=True)


def _onnx(
    quantized: Quantized,
    config: RunConfig,
    shape: tuple[int, ...],
    opset: int | None,
    *,
    integer: bool = False,
) -> _Made:
    from mrecg.formats import onnx_file, onnx_integer, onnx_writer

    chosen = onnx_file.opset_for(quantized.model) if opset is None else opset
    model = onnx_file.to_onnx(quantized, name=config.model.name, shape=shape, opset=chosen)
    if integer:
        model = onnx_integer.with_integer_kernels(model, quantized.model)
    content = model.SerializeToString(deterministic=True)
    subjects = [OnnxSubject(content, optimised=optimised, integer=integer) for optimised in (False, True)]
    return _Made(content, subjects, lambda bits: onnx_writer.type_for(bits, chosen).bits, chosen)


def _again(content: bytes, quantized: Quantized) -> torch.nn.Module:
    """The network of a packed file, in the graph at hand: whatever built it need not be there twice."""
    fresh = copy.deepcopy(quantized.network)
    fill(fresh, loads(content, WEIGHTS)[1], WEIGHTS)
    return fresh.model


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
        config: Where they are.
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
