"""The soft rounding of all layers of a group, as one flat parameter.

One sigmoid, one clamp and one power a step serve all layers, so the cost does not grow with their number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.rounding import initial_alpha, soft_fraction, soft_weight


def _flatten(weight: Tensor) -> Tensor:
    """Lay a weight out in the memory order of its layer (channels last for images)."""
    return (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).reshape(-1)


def _unflatten(flat: Tensor, like: Tensor) -> Tensor:
    if like.dim() != 4:
        return flat.view(like.shape)
    o, i, h, w = like.shape
    return flat.view(o, h, w, i).permute(0, 3, 1, 2)


class SoftRounding(nn.Module):
    """Holds alpha for a group's layers and gives them their soft weights.

    Args:
        layers: The quantized layers; their grids are fixed from here on.

    Attributes:
        alpha: The rounding variables of all layers, one after the other.
    """

    base: Tensor
    scale: Tensor
    zero_point: Tensor
    top: Tensor

    def __init__(self, layers: Sequence[QuantizedLayer]) -> None:
        super().__init__()
        self._layers = tuple(layers)  # a tuple: they belong to the network, not to this module
        self._sizes = [layer.reference.numel() for layer in layers]
        expanded = [
            [_flatten(t.expand_as(layer.reference)) for t in (layer.scale, layer.zero_point)]
            for layer in layers
        ]
        weight = torch.cat([_flatten(layer.reference.detach()) for layer in layers])
        self.register_buffer("scale", torch.cat([scale for scale, _ in expanded]))
        self.register_buffer("zero_point", torch.cat([zero for _, zero in expanded]))
        tops = [torch.full_like(scale, layer.top) for (scale, _), layer in zip(expanded, layers, strict=True)]
        self.register_buffer("top", torch.cat(tops))
        floor = torch.floor(weight / self.scale)
        self.register_buffer("base", floor + self.zero_point)
        self.alpha = nn.Parameter(initial_alpha(weight / self.scale - floor))

    def fraction(self) -> Tensor:
        """h(alpha) of all weights, shape (weights of the group,)."""
        return soft_fraction(self.alpha)

    def lend(self, h: Tensor) -> None:
        """Give every layer its soft weight for this step.

        Args:
            h: What `fraction` returned; the regulariser uses it too.
        """
        flat = soft_weight(self.base, h, self.scale, self.zero_point, self.top)
        for layer, part in zip(self._layers, torch.split(flat, self._sizes), strict=True):
            layer.soft = _unflatten(part, layer.reference)

    @torch.no_grad()
    def harden(self) -> None:
        """Round every weight up where alpha >= 0, else down, and take the soft weights back."""
        integers = torch.minimum((self.base + (self.alpha >= 0)).clamp(min=0), self.top)
        for layer, part in zip(self._layers, torch.split(integers, self._sizes), strict=True):
            layer.soft = None
            layer.harden(_unflatten(part, layer.reference))
