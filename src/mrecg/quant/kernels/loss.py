"""The reconstruction loss and its gradient in one pass, and the error after a unit in another."""

import numpy as np
from numpy.typing import NDArray

from mrecg.quant.kernels.jit import chunks, divide, kernel, part

Floats = NDArray[np.float32]


@kernel
def _squared(out, target, grad, sums, factor, begin, end):
    for chunk in range(begin, end):
        outs, targets, grads = part(out, chunk), part(target, chunk), part(grad, chunk)
        total = 0.0
        for i in range(grads.size):
            difference = outs[i] - targets[i]
            total += np.float64(difference * difference)
            grads[i] = difference * factor
        sums[chunk] = total


@kernel
def _deviation(out, target, sums, begin, end):
    for chunk in range(begin, end):
        outs, targets = part(out, chunk), part(target, chunk)
        error = norm = 0.0
        for i in range(outs.size):
            difference = outs[i] - targets[i]
            error += np.float64(difference * difference)
            norm += np.float64(targets[i] * targets[i])
        sums[0, chunk], sums[1, chunk] = error, norm


def deviation(out: Floats, target: Floats) -> tuple[float, float]:
    """Sum squared differences, and squares.

    Args:
        out: Shape (N,).
        target: Shape (N,).

    Returns:
        ``sum((out - target)^2)`` and ``sum(target^2)``, in float64 and a fixed order.
    """
    sums = np.empty((2, chunks(out.size)))
    divide(lambda begin, end: _deviation(out, target, sums, begin, end), sums.shape[1])
    return float(sums[0].sum()), float(sums[1].sum())


def squared(out: Floats, target: Floats, grad: Floats, *, factor: float) -> float:
    """Sum the squared differences.

    Args:
        out: Shape (N,).
        target: Shape (N,).
        grad: Gets ``factor * (out - target)``.
        factor: Any number.

    Returns:
        The sum, in float64 and a fixed order.
    """
    number, sums = np.float32(factor), np.empty(chunks(out.size))
    divide(lambda begin, end: _squared(out, target, grad, sums, number, begin, end), sums.size)
    return float(sums.sum())
