"""The soft rounding of all layers of a group, as one flat parameter.

One pass computes the soft weights of all layers and one the gradient of their alphas, so the cost does not
grow with the number of layers, and autograd never sees more than the weights themselves.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.methods.passes import LearnRounding
from mrecg.quant import kernels
from mrecg.quant.affine import dequantize, from_memory_order, in_memory_order
from mrecg.quant.kernels.switch import serving, triton_kernels
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.rounding import (
    fraction_slope,
    initial_alpha,
    regulariser,
    regulariser_slope,
    soft_fraction,
    soft_weight,
)

MARGIN = 0.05
"""How far from decided rounding begins where an integer was found before, at least."""


class SoftRounding(nn.Module):
    """Holds alpha for a group's layers and gives them their soft weights.

    In each step: `lend`, the group's forward and backward pass, `collect`, the optimiser's step on `alpha`.

    Args:
        layers: The quantized layers; the integers that their weights are rounded from are fixed from here on.
        learn_scales: Whether their scales are learned.
        relative: Whether what is learned is the logarithm of the factor on each scale, so that it moves in
            proportion to itself and stays positive.
        learn_rounding: Whether the rounding is learned; otherwise all integers stay.
        share: Of integers that were found before in where their rounding begins. With more than a half, that
            is what it ends at if nothing is learned.

    Attributes:
        alpha: The rounding variables of all layers, one after the other, shape (weights of the group,); empty
            where integers stay.
        scale: The scales of all layers, one after the other, or the logarithms; None where they stay.
        relative: Which of the two.
    """

    offset: Tensor
    gain: Tensor
    weight: Tensor
    pull: Tensor
    first_scale: Tensor

    def __init__(
        self,
        layers: Sequence[QuantizedLayer],
        *,
        learn_scales: bool = False,
        relative: bool = False,
        learn_rounding: bool = True,
        share: float = LearnRounding.share,
    ) -> None:
        super().__init__()
        start = partial(_start, share=share) if learn_rounding else _fixed
        self._layers = tuple(layers)  # a tuple: they belong to the network, not to this module
        self._sizes = [layer.reference.numel() for layer in layers]
        alphas, offsets, gains = zip(*(start(layer, levels=learn_scales) for layer in layers), strict=True)
        self.alpha = nn.Parameter(torch.cat(alphas))
        self._scale_sizes = [layer.scale.numel() for layer in layers]
        scales = torch.cat([layer.scale.flatten() for layer in layers])
        self.relative = relative
        self.scale = nn.Parameter(torch.zeros_like(scales) if relative else scales) if learn_scales else None
        # A soft weight is offset + h * gain, in steps of its grid where these are learned. Beyond the ends of
        # the grid rounding changes nothing: no gain.
        self.register_buffer("offset", torch.cat(offsets))
        self.register_buffer("gain", torch.cat(gains))
        self.register_buffer("weight", torch.empty_like(self.offset))
        self.register_buffer("pull", torch.empty_like(self.offset))
        self.register_buffer("first_scale", scales)

    @classmethod
    def of(cls, layers: Sequence[QuantizedLayer], task: LearnRounding) -> "SoftRounding":
        """Make that of a pass.

        Args:
            layers: The quantized layers of a group.
            task: What is learned of them.

        Returns:
            Their soft rounding.
        """
        return cls(
            layers,
            learn_scales=task.scale_lr is not None,
            relative=task.relative,
            learn_rounding=task.lr is not None,
            share=task.share,
        )

    def lend(self) -> None:
        """Give every layer its soft weight for this step, as a leaf of the step's graph."""
        with torch.no_grad():
            tensors = self.alpha, self.offset, self.gain, self.weight
            fused = serving(self.alpha)
            if not len(self.alpha):
                self.weight.copy_(self.offset)
            elif fused == "numba":
                kernels.rounding.soften(*(t.detach().numpy() for t in tensors))
            elif fused == "triton":
                triton_kernels().soften(*tensors)
            else:
                torch.addcmul(self.offset, soft_fraction(self.alpha), self.gain, out=self.weight)
        for (layer, scale), part in zip(self._scales(), torch.split(self.weight, self._sizes), strict=True):
            weight = from_memory_order(part, layer.reference)
            layer.soft = (
                weight if scale is None else weight * layer.channels.spread(scale.detach())
            ).requires_grad_()

    def _scales(self) -> Iterator[tuple[QuantizedLayer, Tensor | None]]:
        """Each layer with its scale where that is learned, in the shape of its own."""
        scales: Tensor | None = self.scale
        if scales is not None and self.relative:
            scales = self.first_scale * scales.exp()
        parts = [None] * len(self._layers) if scales is None else torch.split(scales, self._scale_sizes)
        for layer, part in zip(self._layers, parts, strict=True):
            yield layer, None if part is None else part.view(layer.scale.shape)

    @torch.no_grad()
    def collect(self, *, weight: float, beta: float | Tensor | None) -> Tensor | None:
        """Turn the soft weights' gradients into those of `alpha` and `scale`, and add the regulariser's.

        Args:
            weight: Lambda of the regulariser.
            beta: Its exponent, on a GPU also as one element there; None leaves it out.

        Returns:
            The regulariser times lambda; None where it was left out.
        """
        slopes = []
        for (layer, scale), part in zip(self._scales(), torch.split(self.pull, self._sizes), strict=True):
            assert layer.soft is not None
            grad = layer.soft.grad
            if grad is None:  # the loss does not depend on this layer
                part.zero_()
                slopes.append(torch.zeros_like(layer.scale).flatten())
            elif scale is None:
                part.copy_(in_memory_order(grad))
            else:
                steps = layer.channels.spread(scale)
                if len(self.alpha):
                    part.copy_(in_memory_order(grad * steps))
                slopes.append(layer.channels.sum(grad * (layer.soft / steps)).flatten())
        if self.scale is not None:
            slope = torch.cat(slopes)
            self.scale.grad = slope * self.first_scale * self.scale.exp() if self.relative else slope
        if not len(self.alpha):
            return None
        if self.alpha.grad is None:
            self.alpha.grad = torch.empty_like(self.alpha)
        regularised = beta is not None and weight > 0
        exponent: Any = 1.0 if beta is None else beta
        fused = serving(self.alpha)
        if fused is not None:
            tensors = (self.alpha, self.gain, self.pull, self.alpha.grad)
            factor = weight if regularised else 0.0
            if fused == "triton":
                total = weight * triton_kernels().gradient(*tensors, regulariser=factor, beta=exponent)
                return total.to(self.alpha.dtype) if regularised else None
            arrays = (t.detach().numpy() for t in tensors)
            penalty = kernels.rounding.gradient(*arrays, regulariser=factor, beta=exponent)
            return self.alpha.new_tensor(weight * penalty) if regularised else None
        slope = self.pull * self.gain
        if not regularised:
            torch.mul(slope, fraction_slope(self.alpha), out=self.alpha.grad)
            return None
        h = soft_fraction(self.alpha)
        slope.add_(regulariser_slope(h, exponent), alpha=weight)
        torch.mul(slope, fraction_slope(self.alpha), out=self.alpha.grad)
        return weight * regulariser(h, exponent)

    @torch.no_grad()
    def harden(self) -> None:
        """Round every weight up where alpha >= 0, else down, and take the soft weights back."""
        sizes = self._sizes if len(self.alpha) else [0] * len(self._sizes)
        for (layer, scale), alpha in zip(self._scales(), torch.split(self.alpha, sizes), strict=True):
            integers = layer.integers
            if len(alpha):
                up = from_memory_order((alpha >= 0).to(alpha.dtype), layer.reference)
                integers = (_base(layer) + up).clamp(0, layer.top)
            if scale is not None:
                layer.scale.copy_(scale)
            layer.harden(integers)


def _base(layer: QuantizedLayer) -> Tensor:
    """The integer below each weight; it may lie beyond the ends of the grid."""
    scale, zero_point = layer.grid
    if layer.target is None:
        return torch.floor(layer.reference.detach() / scale) + zero_point
    # The integer that was found is one of the two between which the rounding is learned.
    integers = layer.integers.to(scale.dtype)
    return torch.where(layer.target / scale < integers - zero_point, integers - 1, integers)


def _fixed(layer: QuantizedLayer, *, levels: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As `_start`, where the integers stay: no alpha, and no gain."""
    scale, zero_point = layer.grid
    weight = dequantize(
        layer.integers.to(scale.dtype), torch.ones_like(scale) if levels else scale, zero_point
    )
    weight = in_memory_order(weight)
    return weight.new_empty(0), weight, torch.zeros_like(weight)


def _start(layer: QuantizedLayer, *, levels: bool, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Alpha, offset and gain of a layer, flat; the latter two in steps of the grid, or times these."""
    scale, zero_point = layer.grid
    base = _base(layer)
    if layer.target is None:
        ratio = layer.reference.detach() / scale
        begin = ratio - torch.floor(ratio)
    else:
        found = layer.integers.to(scale.dtype) - base
        near = (layer.target / scale - (base - zero_point)).clamp(0, 1)
        begin = torch.lerp(near, found, share).clamp(MARGIN, 1 - MARGIN)
    scale = torch.ones_like(scale) if levels else scale
    low, high = (soft_weight(base, h, scale, zero_point, layer.top) for h in (0.0, 1.0))
    alpha = initial_alpha(begin)
    return in_memory_order(alpha), in_memory_order(low), in_memory_order(high - low)
