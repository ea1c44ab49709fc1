"""A quantized network in plain modules of torch, for torch's own tools."""

import copy

import torch
from torch import Tensor, nn

from mrecg.quant.affine import UNBOUNDED, dequantize, quantize
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer


class PlainGrid(nn.Module):
    """A quantizer in plain torch operations.

    Args:
        quantizer: What it does.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.bounds, self.top = quantizer.bounds, quantizer.top
        self.register_buffer("scale", quantizer.scale.detach().clone())
        self.register_buffer("zero_point", quantizer.zero_point.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Quantize and read back."""
        if self.bounds != UNBOUNDED:
            x = x.clamp(*self.bounds)
        return dequantize(quantize(x, self.scale, self.zero_point, self.top), self.scale, self.zero_point)


def plain_layer(layer: QuantizedLayer) -> nn.Module:
    """Make an ordinary layer whose weight stands on the grid, in floating point.

    Args:
        layer: The hardened layer; it is not changed.
    """
    made = copy.copy(layer.layer)
    made._parameters = {
        name: None if value is None else nn.Parameter(value.detach().clone(), requires_grad=False)
        for name, value in (("weight", layer.hard), ("bias", layer.layer.bias))
        if isinstance(value, Tensor | None)
    }
    return made


def replaced(model: nn.Module, made: dict[str, nn.Module]) -> nn.Module:
    """Copy a network with other modules in some places.

    Args:
        model: The network; it is not changed.
        made: The modules by path.
    """
    copied = copy.deepcopy(model)
    for path, part in made.items():
        owner, _, leaf = path.rpartition(".")
        setattr(copied.get_submodule(owner), leaf, part)
    return copied


@torch.no_grad()
def plain_network(model: nn.Module) -> nn.Module:
    """Copy a hardened network into ordinary layers and plain operations.

    Args:
        model: The network; it is not changed.

    Returns:
        A module in evaluation mode on the same device, of the same outputs.
    """
    made: dict[str, nn.Module] = {}
    for path, part in model.named_modules():
        if isinstance(part, QuantizedLayer):
            made[path] = plain_layer(part)
        elif isinstance(part, ActivationQuantizer):
            made[path] = PlainGrid(part)
    return replaced(model, made).eval()
