"""Triton kernels, launched by `mrecg.quant.kernels.gpu`.

A program takes 1024 elements of flat arrays as rows of 8: one row for each random word. What Triton's
interpreter lacks is not used, so that kernels can be tried without a GPU. Divisions are those of IEEE 754; a
plain ``/`` would be approximate.
"""

import triton
import triton.language as tl

from mrecg.quant.kernels.splitmix import FIRST, GOLDEN, SECOND

BLOCK = 1024
"""Elements of a program, which are summed before a partial sum is written."""
_ROWS = tl.constexpr(BLOCK // 8)
_GOLDEN, _FIRST, _SECOND = tl.constexpr(GOLDEN), tl.constexpr(FIRST), tl.constexpr(SECOND)
_WHOLE = tl.constexpr(2.0**23)
_STRETCH, _GAMMA = tl.constexpr(1.1 - -0.1), tl.constexpr(-0.1)


@triton.jit
def _places():
    """The rows of a program, and the indices of its elements."""
    row = tl.program_id(0).to(tl.int64) * _ROWS + tl.arange(0, _ROWS)
    return row, row[:, None] * 8 + tl.arange(0, 8)[None, :]


@triton.jit
def _clamp(x, low, high):
    x = tl.where(x < low, low, x)  # no number is below or above anything, and stays
    return tl.where(x > high, high, x)


@triton.jit
def _rint(x):
    """Round half to even, as torch does; what is 2^23 or more is whole."""
    size = tl.abs(x)
    whole = (size + _WHOLE) - _WHOLE
    return tl.where(size < _WHOLE, tl.where(x < 0, -whole, whole), x)


@triton.jit
def _below(key, row, threshold, lies: tl.constexpr):
    """Compare the random byte with the threshold: one word of SplitMix64 per row."""
    word = tl.load(key) if lies else key
    z = word.to(tl.uint64) + (row + 1).to(tl.uint64) * _GOLDEN
    z = (z ^ (z >> 30)) * _FIRST
    z = (z ^ (z >> 27)) * _SECOND
    z = z ^ (z >> 31)
    shift = (tl.arange(0, 8) * 8).to(tl.uint64)
    return ((z[:, None] >> shift[None, :]) & 255).to(tl.int32) < threshold


@triton.jit
def _sigmoid(x):
    return tl.div_rn(1.0, 1.0 + tl.exp(-x))


@triton.jit(do_not_specialize=["scale", "key", "threshold"])
def quantize(
    x, out, scale, bottom, top, low, high, key, threshold, size, drops: tl.constexpr, lies: tl.constexpr
) -> None:
    """Activation function, quantization and drop."""
    row, place = _places()
    there = place < size
    step = tl.load(scale)
    v = _clamp(tl.load(x + place, mask=there, other=0.0), low, high)
    q = _clamp(_rint(tl.div_rn(v, step)), bottom, top) * step
    if drops:
        q = tl.where(_below(key, row, threshold, lies), q, v)
    tl.store(out + place, q, mask=there)


@triton.jit(do_not_specialize=["scale", "key", "threshold"])
def gradients(
    x,
    grad,
    out,
    sums,
    scale,
    bottom,
    top,
    low,
    high,
    key,
    threshold,
    size,
    drops: tl.constexpr,
    lies: tl.constexpr,
) -> None:
    """Gradients of `quantize`, and the program's sum of the scale's."""
    row, place = _places()
    there = place < size
    step = tl.load(scale)
    value = tl.load(x + place, mask=there, other=0.0)
    g = tl.load(grad + place, mask=there, other=0.0)
    ratio = tl.div_rn(_clamp(value, low, high), step)
    rounded = _rint(ratio)
    level = _clamp(rounded, bottom, top)
    inside = level == rounded
    active = (value > low) & (value < high)
    slope = (level - ratio * inside.to(tl.float32)) * g
    passes = active & inside
    if drops:
        quantized = _below(key, row, threshold, lies)
        slope = tl.where(quantized, slope, 0.0)
        passes = active & (inside | (quantized == 0))
    tl.store(out + place, g * passes.to(tl.float32), mask=there)
    tl.store(sums + tl.program_id(0), tl.sum(tl.where(there, slope, 0.0).to(tl.float64)))


@triton.jit(do_not_specialize=["key", "threshold"])
def mix(kept, dropped, out, key, threshold, size, lies: tl.constexpr) -> None:
    """One of two values by the random byte."""
    row, place = _places()
    there = place < size
    one, other = tl.load(kept + place, mask=there), tl.load(dropped + place, mask=there)
    tl.store(out + place, tl.where(_below(key, row, threshold, lies), one, other), mask=there)


@triton.jit
def soften(alpha, offset, gain, out, size) -> None:
    """Soft weights."""
    _, place = _places()
    there = place < size
    h = _clamp(_sigmoid(tl.load(alpha + place, mask=there, other=0.0)) * _STRETCH + _GAMMA, 0.0, 1.0)
    soft = tl.load(offset + place, mask=there) + h * tl.load(gain + place, mask=there)
    tl.store(out + place, soft, mask=there)


@triton.jit(do_not_specialize=["beta"])
def gradient(
    alpha, gain, grad, out, sums, weight, beta, size, regularised: tl.constexpr, lies: tl.constexpr
) -> None:
    """Gradient of alpha, and the program's sum of the regulariser."""
    _, place = _places()
    there = place < size
    sigmoid = _sigmoid(tl.load(alpha + place, mask=there, other=0.0))
    stretched = sigmoid * _STRETCH + _GAMMA
    h = _clamp(stretched, 0.0, 1.0)
    slant = tl.load(grad + place, mask=there) * tl.load(gain + place, mask=there)
    if regularised:
        exponent = tl.load(beta) if lies else beta
        distance = 2.0 * h - 1.0
        far = tl.abs(distance)
        near = tl.exp2((exponent - 1.0) * tl.log2(tl.where(far < 1e-30, 1e-30, far)))
        sign = (distance > 0).to(tl.float32) - (distance < 0).to(tl.float32)
        slant += -2.0 * exponent * weight * near * sign
        tl.store(sums + tl.program_id(0), tl.sum(tl.where(there, 1.0 - near * far, 0.0).to(tl.float64)))
    moves = tl.where(stretched == h, _STRETCH * sigmoid * (1.0 - sigmoid), 0.0)
    tl.store(out + place, slant * moves, mask=there)


@triton.jit
def squared(out, target, grad, sums, factor, size) -> None:
    """Gradient of the squared error, and the program's sum of it."""
    _, place = _places()
    there = place < size
    one = tl.load(out + place, mask=there, other=0.0)
    difference = one - tl.load(target + place, mask=there, other=0.0)
    tl.store(grad + place, difference * factor, mask=there)
    tl.store(sums + tl.program_id(0), tl.sum((difference * difference).to(tl.float64)))
