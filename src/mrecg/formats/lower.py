"""The network as it is written to a file: integers and scales in plain modules, nothing that learns."""

import copy
import json
from dataclasses import asdict
from typing import Protocol

import torch
from torch import Tensor, fx, nn

from mrecg.errors import ExportError
from mrecg.formats.checkpoint import Quantized
from mrecg.formats.packed import pack
from mrecg.formats.plain import PlainGrid, replaced
from mrecg.graph.structure import OUTPUTS, Returned, Structure
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer
from mrecg.quant.weights import apply_weight


class Form(Protocol):
    """How a file format holds weights and rounds activations."""

    def weight(self, layer: QuantizedLayer, path: str) -> nn.Module:
        """Make a module without inputs that gives a layer's weight."""

    def activation(self, quantizer: ActivationQuantizer, path: str) -> nn.Module:
        """Make a module that does what a quantizer does."""


class IntegerLayer(nn.Module):
    """A weight layer whose weight comes from another module.

    The bias is added after the layer: ONNX Runtime would otherwise round it to the grid of input times
    weight, which is coarse at low bits.

    Args:
        source: The layer.
        weight: Gives its weight.
    """

    bias: Tensor | None

    def __init__(self, source: QuantizedLayer, weight: nn.Module) -> None:
        super().__init__()
        self.weight = weight
        bias = source.layer.bias
        assert bias is None or isinstance(bias, Tensor)
        self.layer = copy.copy(source.layer)
        self.layer._parameters = {"weight": None, "bias": None}
        shape = [-1] + [1] * (source.reference.dim() - 2)
        added = None if bias is None else bias.detach().clone().reshape(shape)
        self.register_buffer("bias", added)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        out = apply_weight(self.layer, x, self.weight())
        return out if self.bias is None else out + self.bias


class UnpackedWeight(nn.Module):
    """Integers packed into bytes, unpacked and read back in plain torch operations.

    Args:
        layer: The layer. Integers of 3 bits take 4, those of 5 to 7 take 8, so that none lies in two bytes.
    """

    packed: Tensor
    shifts: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.bits, self.channels = container(layer.bits), layer.channels
        self.shape = layer.integers.shape
        self.register_buffer("packed", pack(layer.integers, self.bits))
        self.register_buffer("shifts", torch.arange(0, 8, self.bits, dtype=torch.uint8))
        self.register_buffer("scale", layer.scale.detach().clone())
        self.register_buffer("zero_point", layer.zero_point.detach().to(torch.uint8))

    def forward(self) -> Tensor:
        """Give the weight."""
        values = self.packed
        if self.bits < 8:
            values = (values.unsqueeze(1) >> self.shifts) & (2**self.bits - 1)
        values = values.flatten()[: self.shape.numel()].reshape(self.shape)
        zero_point = self.channels.spread(self.zero_point).to(self.scale.dtype)
        return (values.to(self.scale.dtype) - zero_point) * self.channels.spread(self.scale)


class PlainForm:
    """Plain torch operations: whatever has torch can run them."""

    def weight(self, layer: QuantizedLayer, path: str) -> nn.Module:
        """Make a module without inputs that gives a layer's weight."""
        return UnpackedWeight(layer)

    def activation(self, quantizer: ActivationQuantizer, path: str) -> nn.Module:
        """Make a module that does what a quantizer does."""
        return PlainGrid(quantizer)


def container(bits: int) -> int:
    """Bits of the smallest power of two that holds integers of so many bits: 2, 4 or 8."""
    return next(size for size in (2, 4, 8) if size >= bits)


def lower(model: nn.Module, form: Form, returned: Structure | None = None) -> fx.GraphModule:
    """Make the module that is written to a file.

    Args:
        model: The hardened network; it is not changed.
        form: What its quantizers become.
        returned: How it puts several outputs together; None: as the network does.

    Returns:
        A new module on the CPU, in contiguous memory, in evaluation mode.
    """
    assert isinstance(model, fx.GraphModule)
    made: dict[str, nn.Module] = {}
    for path, part in model.named_modules():
        if isinstance(part, QuantizedLayer):
            made[path] = IntegerLayer(part, form.weight(part, path))
        elif isinstance(part, ActivationQuantizer):
            made[path] = form.activation(part, path)
    lowered = replaced(model, made)
    assert isinstance(lowered, fx.GraphModule)
    if returned is not None:
        lowered.set_submodule(OUTPUTS, Returned(returned))
    return lowered.cpu().to(memory_format=torch.contiguous_format).eval()


def facts(quantized: Quantized, name: str) -> str:
    """Say what a file holds.

    Returns:
        JSON with the name, the preprocessing if that is known, and the bits of every layer and activation.
    """
    about = {
        "model": name,
        "preprocessing": asdict(quantized.preprocessing) if quantized.preprocessing else None,
        "weight_bits": dict(quantized.network.policy.layers),
        "activation_bits": dict(quantized.network.policy.activations),
    }
    return json.dumps(about)


def refused(form: str, name: str, error: Exception) -> ExportError:
    """Build the error for a network that torch's exporter does not take.

    Args:
        name: The network's name.
        error: What torch has raised.

    Returns:
        The error, ready to raise.
    """
    reason = " ".join(str(error).split())[:300]
    return ExportError(f"format={form}: torch cannot write {name}: {type(error).__name__}: {reason}")
