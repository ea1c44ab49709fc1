"""Fake quantization whose zero point is learned with its scale.

Plain torch, for any device and type: the fused kernels take the zero point as a number, and reading it from a
tensor that the optimiser changes would stop a GPU in every step. A zero point that is not learned stays with
`mrecg.quant.affine.fake_quantize`.

Source: Bhalgat et al., LSQ+, arXiv 2004.09576; its offset is ``-z * s`` here, so that 0.0 keeps an integer of
the grid.
"""

from typing import Any

import torch
from torch import Tensor

from mrecg.quant.affine import UNBOUNDED, FakeQuant


class _LearnedZeroPoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, settings: FakeQuant) -> Tensor:
        ctx.settings = settings
        ctx.save_for_backward(x, scale, zero_point)
        if settings.bounds != UNBOUNDED:
            x = x.clamp(*settings.bounds)
        low, high = _ends(zero_point, settings.top)
        quantized = torch.round(x / scale).clamp_(low, high).mul_(scale)
        return quantized if settings.draw is None else torch.lerp(x, quantized, settings.draw.mask(x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, scale, zero_point = ctx.saved_tensors
        settings: FakeQuant = ctx.settings
        low, high = settings.bounds
        active = ((x > low) & (x < high)).to(x.dtype)
        ratio = x.clamp(low, high) / scale
        rounded = torch.round(ratio)
        level = rounded.clamp(*_ends(zero_point, settings.top))
        inside = (level == rounded).to(x.dtype)
        learned = grad
        passed = inside
        if settings.draw is not None:
            mask = settings.draw.mask(x)  # the same again: it follows from a key
            learned, passed = grad * mask, torch.lerp(torch.ones_like(inside), inside, mask)
        grad_scale = grad_zero = None
        if ctx.needs_input_grad[1]:
            grad_scale = _sum(level.addcmul_(ratio, inside, value=-1) * learned, settings, scale)
        if ctx.needs_input_grad[2]:
            # Inside, what the zero point adds before the clamp it takes away after it.
            grad_zero = _sum((inside - 1) * scale * learned, settings, zero_point)
        return grad * active * passed, grad_scale, grad_zero, None


def _ends(zero_point: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The grid's ends, counted from the rounded zero point."""
    zero = torch.round(zero_point.detach())
    return -zero, top - zero


def _sum(slopes: Tensor, settings: FakeQuant, like: Tensor) -> Tensor:
    """Add up in float64, so that the order of the terms does not show."""
    total = slopes.sum(dtype=torch.float64) * settings.grad_factor
    return total.to(like.dtype).reshape(like.shape)


def fake_quantize_learning_zero(x: Tensor, scale: Tensor, zero_point: Tensor, settings: FakeQuant) -> Tensor:
    """Clamp, quantize and dequantize per tensor, with gradients for the scale and the zero point.

    Args:
        x: Any shape.
        scale: One positive number (shape ``()`` or ``(1,)``), of ``x``'s type.
        zero_point: One number, 0 to ``settings.top`` or a little beyond, rounded half to even for the grid;
            of ``x``'s type.
        settings: Grid, activation function and drop; its own ``zero_point`` is not read.

    Returns:
        ``(clamp(round(x/s) + round(z), 0, top) - round(z)) * s`` where x is quantized, else x after its
        activation function; same shape. The gradients for ``x`` and the scale are those of
        `mrecg.quant.affine.fake_quantize`; for the zero point it is 0 inside the range, ``-s`` where x was
        clipped and 0 where it was not quantized. The factor goes on scale and zero point.

    Source:
        Bhalgat et al., LSQ+, arXiv 2004.09576, equations 4 to 7.
    """
    out: Tensor = _LearnedZeroPoint.apply(x, scale, zero_point, settings)
    return out
