"""The package's own export formats."""

import copy

import torch

from mrecg.config.schema import RunConfig
from mrecg.config.validate import is_there
from mrecg.errors import ConfigError
from mrecg.formats.checkpoint import Quantized, dump, fill
from mrecg.formats.lower import container
from mrecg.formats.packed import loads
from mrecg.formats.program import open_program, to_program
from mrecg.formats.registry import Format, Made, register
from mrecg.formats.runners import onnx_runtime, open_exported_program, open_onnx, open_packed
from mrecg.formats.subjects import ModuleSubject, OnnxSubject, TorchSubject
from mrecg.runs.layout import EXPORTED, WEIGHTS


def _refuse_onnx(quantized: Quantized, opset: int | None) -> None:
    onnx_runtime()
    for package in ("onnx", "onnxscript"):  # torch's exporter needs the second one, and says so late
        if not is_there(package):
            raise ConfigError(
                f"{package}: is not installed, and ONNX files need it; pip install 'mrecg[export]'"
            )
    from mrecg.formats import onnx_file

    lowest, highest = onnx_file.OPSETS
    if opset is not None and not lowest <= opset <= highest:
        raise ConfigError(f"opset: {opset} is not right; choose from {lowest} to {highest}")


def _refuse_onnx_int8(quantized: Quantized, opset: int | None) -> None:
    _refuse_onnx(quantized, opset)
    from mrecg.formats import onnx_integer

    onnx_integer.check_integer(quantized.model)


def _packed(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> Made:
    content = dump(quantized.network, config, quantized.preprocessing)
    return Made(content, [ModuleSubject(_again(content, quantized))], lambda bits: bits)


def _program(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> Made:
    content = to_program(quantized, name=config.model.name, shape=shape)
    return Made(content, [TorchSubject(open_program(content)[0].module())], container)


def _onnx_int8(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> Made:
    return _onnx(quantized, config, shape, opset, integer=True)


def _onnx(
    quantized: Quantized,
    config: RunConfig,
    shape: tuple[int, ...],
    opset: int | None,
    *,
    integer: bool = False,
) -> Made:
    from mrecg.formats import onnx_file, onnx_integer, onnx_writer

    chosen = onnx_file.opset_for(quantized.model) if opset is None else opset
    model = onnx_file.to_onnx(quantized, name=config.model.name, shape=shape, opset=chosen)
    if integer:
        model = onnx_integer.with_integer_kernels(model, quantized.model)
    content = model.SerializeToString(deterministic=True)
    subjects = [OnnxSubject(content, optimised=optimised, integer=integer) for optimised in (False, True)]
    return Made(content, subjects, lambda bits: onnx_writer.type_for(bits, chosen).bits, chosen)


def _again(content: bytes, quantized: Quantized) -> torch.nn.Module:
    """The network of a packed file, in the graph at hand: whatever built it need not be there twice."""
    fresh = copy.deepcopy(quantized.network)
    fill(fresh, loads(content, WEIGHTS)[1], WEIGHTS)
    return fresh.model


register("onnx", Format(file=EXPORTED["onnx"], make=_onnx, refuse=_refuse_onnx, opset=True, open=open_onnx))
register(
    "onnx_int8",
    Format(file=EXPORTED["onnx_int8"], make=_onnx_int8, refuse=_refuse_onnx_int8, opset=True),
)
register("pt2", Format(file=EXPORTED["pt2"], make=_program, open=open_exported_program))
# A packed file says by itself what is not known of its images, and needs their shape.
register("packed", Format(file=WEIGHTS, make=_packed, keeps_images=True, open=open_packed))
