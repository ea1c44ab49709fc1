"""Quantization of activations: the activation function before it and quantization drop are part of the pass.

Arrays are flat float32 in memory order. ``low`` and ``high`` bound the activation function (ReLU: 0 and
infinity), ``bottom`` and ``top`` are the grid's ends counted from the zero point. An element is quantized
where its random byte is below ``threshold``; at 256 all are, and no bytes are drawn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrecg.quant.kernels.jit import CHUNK, chunks, divide, inline, kernel, part
from mrecg.quant.kernels.splitmix import ALL, FIRST, GOLDEN, SECOND

Floats = NDArray[np.float32]
_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)
_WORDS = CHUNK // 8
_ONE, _NONE = np.float32(1), np.float32(0)


@inline
def _fill(words: Any, key: Any, chunk: Any) -> Any:
    """Draw the random words of a chunk; they depend on key and position alone."""
    for i in range(_WORDS):
        z = key + np.uint64(chunk * _WORDS + i + 1) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        words[i] = z ^ (z >> np.uint64(31))


@kernel
def _quantize(x, out, scale, bottom, top, low, high, key, threshold, begin, end):
    words = np.empty(_WORDS, np.uint64)
    draws = words.view(np.uint8)
    least = np.uint8(threshold & 255)
    for chunk in range(begin, end):
        xs, outs = part(x, chunk), part(out, chunk)
        if threshold < ALL:
            _fill(words, key, chunk)
            for i in range(xs.size):
                v = min(max(xs[i], low), high)
                q = min(max(np.rint(v / scale), bottom), top) * scale
                outs[i] = q if draws[i] < least else v
        else:
            for i in range(xs.size):
                v = min(max(xs[i], low), high)
                outs[i] = min(max(np.rint(v / scale), bottom), top) * scale


@kernel
def _gradients(x, grad, out, sums, scale, bottom, top, low, high, key, threshold, begin, end):
    words = np.empty(_WORDS, np.uint64)
    draws = words.view(np.uint8)
    least = np.uint8(threshold & 255)
    for chunk in range(begin, end):
        xs, grads, outs = part(x, chunk), part(grad, chunk), part(out, chunk)
        total = 0.0
        # Two loops: with the choice inside, compilers for AVX2 vectorise neither (ten times as slow).
        if threshold < ALL:
            _fill(words, key, chunk)
            for i in range(xs.size):
                ratio, level, inside, active = _step(xs[i], scale, bottom, top, low, high)
                drawn, share = draws[i] < least, (level - ratio * inside) * grads[i]
                outs[i] = grads[i] * (active * (inside if drawn else _ONE))
                total += np.float64(share if drawn else _NONE)
        else:
            for i in range(xs.size):
                ratio, level, inside, active = _step(xs[i], scale, bottom, top, low, high)
                outs[i] = grads[i] * (active * inside)
                total += np.float64((level - ratio * inside) * grads[i])
        sums[chunk] = total


@inline
def _step(value: Any, scale: Any, bottom: Any, top: Any, low: Any, high: Any) -> Any:
    """A value in steps, its level, and whether it lies inside the grid and the function's bounds."""
    ratio = min(max(value, low), high) / scale
    rounded = np.rint(ratio)
    level = min(max(rounded, bottom), top)
    inside = _ONE if level == rounded else _NONE
    active = _ONE if value > low and value < high else _NONE
    return ratio, level, inside, active


@kernel
def _mix(kept, dropped, out, key, threshold, begin, end):
    words = np.empty(_WORDS, np.uint64)
    draws = words.view(np.uint8)
    least = np.uint8(threshold & 255)
    for chunk in range(begin, end):
        ins, others, outs = part(kept, chunk), part(dropped, chunk), part(out, chunk)
        _fill(words, key, chunk)
        for i in range(outs.size):
            one, other = ins[i], others[i]  # read both: a conditional read is not vectorised
            outs[i] = one if draws[i] < least else other


def quantize(
    x: Floats,
    out: Floats,
    *,
    scale: float,
    grid: tuple[float, float],
    bounds: tuple[float, float],
    key: int,
    threshold: int,
) -> None:
    """Activation function, quantization and quantization drop in one pass.

    Args:
        x: Shape (N,).
        out: Gets the result, shape (N,).
        scale: Distance of two grid points.
        grid: The grid's ends, counted from the zero point.
        bounds: Ends of the activation function.
        key: Of the random bytes, 0 to 2^64 - 1.
        threshold: Bytes below it quantize; 0 to 256.
    """
    numbers = (*_single(scale, *grid, *bounds), np.uint64(key), threshold)
    divide(lambda begin, end: _quantize(x, out, *numbers, begin, end), chunks(x.size))


def gradients(
    x: Floats,
    grad: Floats,
    out: Floats,
    *,
    scale: float,
    grid: tuple[float, float],
    bounds: tuple[float, float],
    key: int,
    threshold: int,
) -> float:
    """Gradients of `quantize`.

    Args:
        x: As in `quantize`.
        grad: Gradient of its result, shape (N,).
        out: Gets the gradient of ``x``.
        scale: As in `quantize`, like what follows.
        grid: The grid's ends.
        bounds: Ends of the activation function.
        key: Of the random bytes.
        threshold: Bytes below it quantize.

    Returns:
        The gradient of the scale, summed in float64 in a fixed order.
    """
    numbers = (*_single(scale, *grid, *bounds), np.uint64(key), threshold)
    sums = np.empty(chunks(x.size))
    divide(lambda begin, end: _gradients(x, grad, out, sums, *numbers, begin, end), sums.size)
    return float(sums.sum())


def mix(kept: Floats, dropped: Floats, out: Floats, *, key: int, threshold: int) -> None:
    """Take an element from the first array where its random byte is below the threshold, else from the other.

    Args:
        kept: Shape (N,).
        dropped: Shape (N,).
        out: Gets the mixture.
        key: Of the random bytes.
        threshold: 0 to 255.
    """
    run = lambda begin, end: _mix(kept, dropped, out, np.uint64(key), threshold, begin, end)  # noqa: E731
    divide(run, chunks(out.size))


def _single(*numbers: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(number) for number in numbers)
