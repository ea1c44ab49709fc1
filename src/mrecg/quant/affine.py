"""The uniform affine grid: pure tensor functions.

An unsigned grid of b bits has the integers 0 to ``qmax = 2^b - 1``. A real value x stands on the integer
``q = clamp(round(x / scale) + zero_point, 0, qmax)`` and is read back as ``(q - zero_point) * scale``.
Rounding is half to even. Scale and zero point broadcast against x; the zero point is a whole number held as
float.
"""

from typing import Any

import torch
from torch import Tensor


def qmax(bits: int) -> int:
    """Largest integer of an unsigned grid.

    Args:
        bits: Bit width, 1 to 31.

    Returns:
        ``2^bits - 1``.

    >>> qmax(4)
    15
    """
    return int(2**bits - 1)


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Put real values on the grid.

    Args:
        x: Any shape.
        scale: Distance of two grid points, > 0; broadcasts against ``x``.
        zero_point: Integer on which 0.0 stands, 0 to ``top``.
        top: Largest integer of the grid, `qmax`.

    Returns:
        Integers 0 to ``top`` in ``x``'s floating type.

    >>> quantize(torch.tensor([-1.0, 0.0, 0.6, 9.0]), torch.tensor(0.5), torch.tensor(1.0), 3)
    tensor([0., 1., 2., 3.])
    """
    return (torch.round(x / scale) + zero_point).clamp(0, top)


def dequantize(q: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Read integers of the grid back as real values.

    Args:
        q: Integers, in a floating type.
        scale: As in `quantize`.
        zero_point: As in `quantize`.

    Returns:
        ``(q - zero_point) * scale``.
    """
    return (q - zero_point) * scale


class _LearnableFakeQuantize(torch.autograd.Function):
    """Quantize and dequantize; the gradient passes x straight through and reaches the scale as in LSQ."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor | float, settings: tuple[int, float]
    ) -> Tensor:
        top, ctx.grad_factor = settings
        ctx.save_for_backward(x, scale)
        ctx.low, ctx.high = -zero_point, top - zero_point
        return torch.round(x / scale).clamp_(ctx.low, ctx.high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, scale = ctx.saved_tensors
        ratio = x / scale
        rounded = torch.round(ratio)
        level = rounded.clamp(ctx.low, ctx.high)
        # 1 inside the range, 0 outside, in floating point: masks of another type are not vectorised.
        inside = torch.sub(level, rounded, out=rounded).abs_().clamp_(max=1).neg_().add_(1)
        grad_x = grad * inside
        grad_scale = None
        if ctx.needs_input_grad[1]:
            # d/ds of s * clamp(round(x / s)): the level itself, less x / s where the value was not clipped.
            level.addcmul_(ratio, inside, value=-1)
            grad_scale = torch.dot(in_memory_order(level), in_memory_order(grad)) * ctx.grad_factor
            grad_scale = grad_scale.reshape(scale.shape)
        return grad_x, grad_scale, None, None


def in_memory_order(x: Tensor) -> Tensor:
    """Flatten a tensor, images from channels-last order, without a copy where that is possible.

    Args:
        x: Any shape; 4 dimensions are taken as images.

    Returns:
        Shape (numel,). Tensors of one shape are flattened in the same order, whatever their memory layout.
    """
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(-1)


def fake_quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor | float, top: int, grad_factor: float = 1.0
) -> Tensor:
    """Quantize and dequantize per tensor, with the gradient of Learned Step Size Quantization.

    Args:
        x: Any shape.
        scale: One positive number (shape ``()`` or ``(1,)``).
        zero_point: One whole number, 0 to ``top``; as a Python number it costs least.
        top: Largest integer of the grid, `qmax`.
        grad_factor: Factor on the scale's gradient; LSQ uses ``1 / sqrt(numel * top)``.

    Returns:
        ``x`` on the grid, same shape. The gradient for ``x`` is 1 inside the range and 0 outside; for the
        scale it is ``round(x/s) - x/s`` inside and the clipped level outside.

    Source:
        Esser et al., Learned Step Size Quantization, arXiv 1902.08153, equations 3 and 5, with a zero point.
    """
    out: Tensor = _LearnableFakeQuantize.apply(x, scale, zero_point, (top, grad_factor))
    return out
