"""The uniform affine grid: pure tensor functions.

An unsigned grid of b bits has the integers 0 to ``qmax = 2^b - 1``. A real value x stands on the integer
``q = clamp(round(x / scale) + zero_point, 0, qmax)`` and is read back as ``(q - zero_point) * scale``.
Rounding is half to even. Scale and zero point broadcast against x; the zero point is a whole number held as
float.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from mrecg.quant import kernels
from mrecg.quant.kernels.splitmix import ALL
from mrecg.quant.kernels.switch import serving, triton_kernels

UNBOUNDED = (float("-inf"), float("inf"))
"""The bounds of no activation function."""


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


class FakeQuant(NamedTuple):
    """Settings by which an activation is quantized.

    Attributes:
        zero_point: Integer on which 0.0 stands.
        top: Largest integer of the grid, `qmax`.
        grad_factor: Factor on the scale's gradient; LSQ uses ``1 / sqrt(numel * top)``.
        bounds: Ends of an activation function that clamps before; ReLU has 0 and infinity.
        draw: Which elements are quantized; None: all.
    """

    zero_point: float
    top: int
    grad_factor: float = 1.0
    bounds: tuple[float, float] = UNBOUNDED
    draw: "Mask | None" = None

    @property
    def grid(self) -> tuple[float, float]:
        """The grid's ends, counted from the zero point."""
        return -self.zero_point, self.top - self.zero_point


class Mask(Protocol):
    """Random bytes by a key; those below the threshold quantize. See `mrecg.quant.drop.Draw`."""

    @property
    def key(self) -> int | Tensor:
        """0 to 2^64 - 1, or its bits as int64, one element on the device."""

    @property
    def threshold(self) -> int:
        """0 to 256."""

    def mask(self, like: Tensor) -> Tensor:
        """1 where an element is quantized, else 0; shape and type of the argument."""

    def serving(self, *tensors: Tensor) -> Literal["numba", "triton"] | None:
        """Return the kernels that can draw it."""

    def pieces(self, count: int) -> list[tuple[slice, int]]:
        """Parts of what is drawn for in memory order, with a key each."""


class _LearnableFakeQuantize(torch.autograd.Function):
    """Quantize and dequantize; the gradient passes x straight through and reaches the scale as in LSQ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, settings: FakeQuant) -> Tensor:
        ctx.settings = settings
        ctx.fused = (serving if settings.draw is None else settings.draw.serving)(x, scale)
        ctx.save_for_backward(x, scale)
        if ctx.fused is not None:
            flat = in_memory_order(x)
            out = torch.empty_like(flat)
            if ctx.fused == "numba":
                arrays = flat.detach().numpy(), out.numpy()
                for piece, numbers in _pieces(flat.numel(), float(scale), settings):
                    kernels.activation.quantize(*(array[piece] for array in arrays), **numbers)
            else:
                triton_kernels().quantize(flat, out, **_arguments(scale, settings))
            return from_memory_order(out, x)
        low, high = settings.grid
        if settings.bounds != UNBOUNDED:
            x = x.clamp(*settings.bounds)
        quantized = torch.round(x / scale).clamp_(low, high).mul_(scale)
        return quantized if settings.draw is None else torch.lerp(x, quantized, settings.draw.mask(x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, scale = ctx.saved_tensors
        settings: FakeQuant = ctx.settings
        factor = settings.grad_factor
        if ctx.fused is not None:
            flat, upstream = in_memory_order(x), in_memory_order(grad)
            out = torch.empty_like(flat)
            if ctx.fused == "numba":
                arrays = flat.detach().numpy(), upstream.detach().numpy(), out.numpy()
                learned = sum(
                    kernels.activation.gradients(*(array[piece] for array in arrays), **numbers)
                    for piece, numbers in _pieces(flat.numel(), float(scale), settings)
                )
                grad_scale = scale.new_full(scale.shape, learned * factor)
            else:
                total = triton_kernels().gradients(flat, upstream, out, **_arguments(scale, settings))
                grad_scale = (total * factor).to(scale.dtype).reshape(scale.shape)
            return from_memory_order(out, x), grad_scale if ctx.needs_input_grad[1] else None, None
        low, high = settings.bounds
        active = ((x > low) & (x < high)).to(x.dtype)
        ratio = x.clamp(low, high) / scale
        rounded = torch.round(ratio)
        level = rounded.clamp(*settings.grid)
        inside = (level == rounded).to(x.dtype)
        # d/ds of s * clamp(round(x / s)): the level itself, less x / s where the value was not clipped.
        slope = level.addcmul(ratio, inside, value=-1)
        if settings.draw is not None:
            mask = settings.draw.mask(x)
            inside, slope = torch.lerp(torch.ones_like(inside), inside, mask), slope * mask
        # Summed in float64, so that the order of the terms does not show.
        total = (slope * grad).sum(dtype=torch.float64) * factor
        grad_scale = total.to(scale.dtype).reshape(scale.shape) if ctx.needs_input_grad[1] else None
        return grad * active * inside, grad_scale, None


def _pieces(count: int, scale: float, settings: FakeQuant) -> Iterator[tuple[slice, dict[str, Any]]]:
    """Give the parts on which Numba's kernels run, with arguments: nearly always everything at once."""
    numbers = _arguments(scale, settings)
    if settings.draw is None:
        yield slice(None), numbers
        return
    for piece, key in settings.draw.pieces(count):
        yield piece, {**numbers, "key": key}


def _arguments(scale: Tensor | float, settings: FakeQuant) -> dict[str, Any]:
    """A kernel's arguments; all are numbers where the scale is one (reading it would wait for a GPU)."""
    draw = settings.draw
    key = draw.key if draw else 0
    return {
        "scale": scale,
        "grid": settings.grid,
        "bounds": settings.bounds,
        "key": key if isinstance(scale, Tensor) else as_number(key),
        "threshold": draw.threshold if draw else ALL,
    }


def as_number(key: int | Tensor) -> int:
    """Read a key.

    Args:
        key: A number, or a tensor with its bits as int64.

    Returns:
        0 to 2^64 - 1.
    """
    return int(key) % (1 << 64) if isinstance(key, Tensor) else key


def in_memory_order(x: Tensor) -> Tensor:
    """Flatten a tensor, images from channels-last order, without a copy where that is possible.

    Args:
        x: Any shape; 4 dimensions are taken as images.

    Returns:
        Shape (numel,). Tensors of one shape are flattened in the same order, in any memory layout.
    """
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(-1)


def from_memory_order(flat: Tensor, like: Tensor) -> Tensor:
    """Undo `in_memory_order`.

    Args:
        flat: Shape (numel,).
        like: A tensor of the shape that comes back.

    Returns:
        A view of ``flat``; images are channels-last.
    """
    if like.dim() != 4:
        return flat.view(like.shape)
    n, c, h, w = like.shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)


def fake_quantize(x: Tensor, scale: Tensor, settings: FakeQuant) -> Tensor:
    """Clamp, quantize and dequantize per tensor, with the gradient of Learned Step Size Quantization.

    Args:
        x: Any shape.
        scale: One positive number (shape ``()`` or ``(1,)``).
        settings: Grid, activation function and drop.

    Returns:
        ``x`` after its activation function, on the grid where it is quantized; same shape. The gradient for
        ``x`` is 1 inside the range and 0 outside (where it is not quantized, that of the activation
        function); for the scale it is ``round(x/s) - x/s`` inside and the clipped level outside.

    Source:
        Esser et al., Learned Step Size Quantization, arXiv 1902.08153, equations 3 and 5, with a zero point.
    """
    out: Tensor = _LearnableFakeQuantize.apply(x, scale, settings)
    return out
