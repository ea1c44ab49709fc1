"""Exported files as what runs them: images in, logits out, and on request what every grid gives."""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, fx, nn

from mrecg.config.consent import Consent
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import CheckpointError, ConfigError
from mrecg.formats.checkpoint import load_file
from mrecg.formats.program import open_program
from mrecg.formats.registry import format_named
from mrecg.registry import FORMATS
from mrecg.system.checked_read import DAMAGED, read_regular

PROPERTY = "mrecg"
"""Key of an ONNX model's metadata: JSON with the model's name, its preprocessing and bits."""
IMAGE_SHAPE = "image_shape"
"""Key in the ``meta`` of an opened packed file's module."""
_FLOAT = "tensor(float)"
"""ONNX Runtime's name of float32."""
PATIENCE = 60.0
"""Seconds per image that a foreign file may take: a graph may have a loop without an end."""


def onnx_runtime() -> Any:
    """Import ONNX Runtime, which is an extra.

    Returns:
        The package.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "onnxruntime: is not installed, and ONNX files need it; pip install 'mrecg[export]'"
        ) from error
    return onnxruntime


class OnnxRunner(nn.Module):
    """Runs an ONNX file on the CPU.

    Args:
        content: Of the file.
        what: The file, for messages.
        optimised: Whether ONNX Runtime may optimise the graph, as it does by itself.
        patience: Seconds per image that it may take; None: any number.

    Attributes:
        image_shape: Channels, height and width of its images; None where the file leaves one open.

    Raises:
        CheckpointError: ONNX Runtime cannot load it, or it is no network from images to logits.
    """

    def __init__(
        self, content: bytes, what: str, *, optimised: bool = True, patience: float | None = None
    ) -> None:
        super().__init__()
        self.runtime = runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        if not optimised:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            # Its fallback would try once more, and write about it to standard output.
            self.session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
        except Exception as error:  # of many classes, none of them documented
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{what}: ONNX Runtime cannot load it: {reason}") from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.outputs = [x.name for x in outputs]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != _FLOAT:
            shapes = ", ".join(f"{x.name} {x.shape} {x.type}" for x in inputs)
            raise CheckpointError(
                f"{what}: has to take one {_FLOAT} of shape (batch, C, H, W), takes {shapes or 'none'}"
            )
        self.first = next((x.name for x in outputs if x.type == _FLOAT), "")
        if not self.first:
            given = f"{outputs[0].name} {outputs[0].type}" if outputs else "nothing"
            raise CheckpointError(f"{what}: has to give logits as its first output, {_FLOAT}; gives {given}")
        self.input, self.what, self.patience = inputs[0].name, what, patience
        batch, *sizes = inputs[0].shape
        fixed = all(isinstance(size, int) for size in sizes)
        self.image_shape: tuple[int, int, int] | None = (sizes[0], sizes[1], sizes[2]) if fixed else None
        self._untried = patience is not None and not isinstance(batch, int)

    def forward(self, x: Tensor) -> Tensor:
        """Give the first output of a batch of images that is in float."""
        logits = self._run(x, [self.first])[0]
        if logits.dim() < 2 or len(logits) != len(x):
            raise CheckpointError(
                f"{self.what}: has to give logits of shape (batch, classes), gives {tuple(logits.shape)} "
                f"for {len(x)} images"
            )
        return logits

    def all(self, x: Tensor) -> list[Tensor]:
        """Give all outputs of a batch of images."""
        return self._run(x, self.outputs)

    def _run(self, x: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        if self._untried:  # one image first: what has no end is found out after a minute, not after an hour
            self._untried = False
            self._run(x[:1], outputs)
        options, ended = self.runtime.RunOptions(), threading.Event()
        seconds = None if self.patience is None else self.patience * len(x)

        def end() -> None:
            ended.set()
            options.terminate = True

        timer = None if seconds is None else threading.Timer(seconds, end)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            found = self.session.run(list(outputs), {self.input: x.cpu().contiguous().numpy()}, options)
        except Exception as error:
            if ended.is_set():
                raise CheckpointError(
                    f"{self.what}: takes more than {seconds:.0f} seconds for {len(x)} of the images; "
                    "it may have a loop without an end"
                ) from error
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{self.what}: ONNX Runtime cannot run images of shape {tuple(x.shape)}: {reason}"
            ) from error
        finally:
            if timer is not None:
                timer.cancel()
        return [torch.from_numpy(value) for value in found]


class Tapped(fx.Interpreter):
    """Runs a program and keeps what every grid gives.

    Args:
        program: The module of a program.
        names: Module paths of the grids.
    """

    def __init__(self, program: fx.GraphModule, names: Sequence[str]) -> None:
        super().__init__(program)
        last: dict[str, fx.Node] = {}
        for node in program.graph.nodes:
            for path, _ in node.meta.get("nn_module_stack", {}).values():
                last[path] = node
        self._wanted = {last[name]: name for name in names}
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, and keep what a grid gives."""
        value = super().run_node(n)
        if n in self._wanted:
            self.found[self._wanted[n]] = value
        return value


def open_file(path: Path, *, allow_import: bool = False) -> tuple[nn.Module, Preprocessing | None]:
    """Open an exported file.

    Args:
        path: ``.onnx``, ``.pt2``, a run's ``quantized.safetensors``, or a file of another package's format.
        allow_import: Whether code may run that the file names (``.safetensors``), or that torch's reader
            evaluates (``.pt2``).

    Returns:
        A module that takes images and gives logits, on the CPU, and what it wants its images to be; None
        where the file does not say.

    Raises:
        ConfigError: The ending is unknown, a package is missing, or something needs consent.
        CheckpointError: There is no such file, or it is damaged.
    """
    formats = [format_named(name) for name in FORMATS]
    openers = {one.suffix: one.open for one in reversed(formats) if one.open is not None}
    if path.suffix not in openers:
        endings = ", ".join(dict.fromkeys(one.suffix for one in formats if one.suffix in openers))
        raise ConfigError(f"path: {path} is no file that can be evaluated; choose from {endings}")
    if not path.is_file():
        raise CheckpointError(f"path: {path} does not exist; mrecg export RUN writes such a file")
    return openers[path.suffix](path, allow_import)


def open_packed(path: Path, allow_import: bool) -> tuple[nn.Module, Preprocessing | None]:
    """Open a run's ``quantized.safetensors``; see `open_file`."""
    quantized = load_file(path, allow_import=allow_import)
    assert isinstance(quantized.model, fx.GraphModule)
    quantized.model.meta = {**quantized.model.meta, IMAGE_SHAPE: quantized.input_shape}
    return quantized.model, quantized.preprocessing


def open_onnx(path: Path, allow_import: bool) -> tuple[nn.Module, Preprocessing | None]:
    """Open an ONNX file, which runs no code of its own; see `open_file`."""
    runner = OnnxRunner(read_regular(path), str(path), patience=PATIENCE)
    try:
        said = runner.session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: its metadata are not right: {error}") from error
    return runner, _preprocessing(said.get(PROPERTY, ""), path)


def open_exported_program(path: Path, allow_import: bool) -> tuple[nn.Module, Preprocessing | None]:
    """Open a file of torch.export; see `open_file`."""
    content = read_regular(path)
    Consent(str(path), allow_import).to_reading("expressions that torch.export.load evaluates")
    try:
        with _quiet("torch.export"):
            program, facts = open_program(content)
        return program.module(), _preprocessing(facts, path)
    except CheckpointError:
        raise
    except Exception as error:  # torch's reader answers damage with whatever comes
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: torch.export.load cannot read it: {reason}") from error


def image_shape(model: nn.Module) -> tuple[int, int, int] | None:
    """Look up which images an opened file takes.

    Args:
        model: From `open_file`.

    Returns:
        Channels, height and width; None where the file leaves one open.
    """
    if isinstance(model, OnnxRunner):
        return model.image_shape
    if not isinstance(model, fx.GraphModule):  # of another package's format, which may say it
        return getattr(model, "image_shape", None)
    if IMAGE_SHAPE in model.meta:
        known: tuple[int, int, int] | None = model.meta[IMAGE_SHAPE]
        return known
    taken = next(node for node in model.graph.nodes if node.op == "placeholder").meta.get("val")
    sizes = list(taken.shape[1:]) if isinstance(taken, Tensor) else []
    fixed = len(sizes) == 3 and all(isinstance(size, int) for size in sizes)
    return (sizes[0], sizes[1], sizes[2]) if fixed else None


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger from writing a traceback about what is raised anyway."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _preprocessing(facts: str, path: Path) -> Preprocessing | None:
    if not facts:
        return None
    try:
        said = json.loads(facts)["preprocessing"]
        preprocessing = None if said is None else TypeAdapter(Preprocessing).validate_python(said)
        if preprocessing is not None:
            preprocessing.refuse_impossible()
        return preprocessing
    except (ValidationError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: its metadata are not right: {reason}") from error
