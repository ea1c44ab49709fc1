"""ONNX in QDQ form: integers of the narrowest type as initialisers, activations on their grids.

The graph is one that ONNX Runtime computes alike at every level of its optimisations: weights are stored
quantized, after a DequantizeLinear alone; activations below 8 bits are clipped to their grid and then
quantized in UINT8; biases are added in float32 after their layer. Written otherwise, the default
optimisations round biases to a coarse grid and refuse graphs with 2- and 4-bit activations.
"""

import warnings
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from mrecg.formats.checkpoint import Quantized
from mrecg.formats.lower import facts, lower, refused
from mrecg.formats.onnx_writer import DOMAIN, Writer, type_for
from mrecg.formats.runners import PROPERTY
from mrecg.graph.structure import in_tuple
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer, layers_of
from mrecg.version import __version__

OPSETS = (18, 25)
"""Lowest and highest opset that can be asked for."""
INPUT, OUTPUT, BATCH = "image", "logits", "batch"


class _Weight(nn.Module):
    def __init__(self, layer: QuantizedLayer, path: str) -> None:
        super().__init__()
        self.shape, self.dtype, self.path = list(layer.reference.shape), layer.reference.dtype, path

    def forward(self) -> Tensor:
        attributes: dict[str, Any] = {"path": self.path}
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::Weight", (), attributes, dtype=self.dtype, shape=self.shape, version=1
        )


class _Grid(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        attributes: dict[str, Any] = {"path": self.path}
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::Grid", (x,), attributes, dtype=x.dtype, shape=x.shape, version=1
        )


class _Symbols:
    """Stand-ins that `Writer` finds again."""

    def weight(self, layer: QuantizedLayer, path: str) -> nn.Module:
        """Stand for a layer's weight."""
        return _Weight(layer, path)

    def activation(self, quantizer: ActivationQuantizer, path: str) -> nn.Module:
        """Stand for a grid."""
        return _Grid(path)


def _output_name(name: str) -> str:
    return name if name and not name.isdecimal() and name != INPUT else f"output_{name}".removesuffix("_")


def opset_for(model: nn.Module) -> int:
    """Choose the lowest opset in which every weight has a type as narrow as there is for it.

    Args:
        model: The hardened network.

    Returns:
        18, 21 (4-bit types) or 25 (2-bit types).
    """
    return max([OPSETS[0], *(type_for(layer.bits, OPSETS[1]).opset for layer in layers_of(model))])


def to_onnx(
    quantized: Quantized, *, name: str, shape: tuple[int, ...], opset: int | None = None
) -> onnx.ModelProto:
    """Write a quantized network as an ONNX model.

    Args:
        quantized: The network, in float32.
        shape: Channels, height and width of an image.
        opset: 18 to 25; None: see `opset_for`. Below 21 weights of fewer than 8 bits take 8, below 25 those
            of 2 take 4.

    Returns:
        The model; its input ``image`` has the shape (batch, *shape), its output ``logits`` (batch, ...).
        Several outputs have the names that they have in the network.

    Raises:
        ExportError: The network cannot be written.
    """
    opset = opset or opset_for(quantized.model)
    structure = quantized.network.structure
    names = [OUTPUT] if structure is None else list(map(_output_name, structure.names))
    lowered = lower(quantized.model, _Symbols(), None if structure is None else in_tuple(names))
    example = torch.zeros(2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                lowered,
                (example,),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                input_names=[INPUT],
                output_names=names,
                verbose=False,
            )
        except Exception as error:  # whatever torch's exporter meets in a network
            raise refused("onnx", name, error) from error
    assert program is not None
    made = Writer(program.model_proto, quantized.model, opset).write()
    made.graph.name, made.producer_name, made.producer_version = name, "mrecg", __version__
    helper.set_model_props(made, {PROPERTY: facts(quantized, name)})
    onnx.checker.check_model(made, full_check=True)
    return made
