"""The soft rounding of weights, and the gradient of its variable.

Arrays are flat float32. A weight is ``offset + h * gain``, where h is the rectified sigmoid of alpha.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrecg.quant.kernels.functions import LEAST, exp, log
from mrecg.quant.kernels.jit import CHUNK, chunks, divide, inline, kernel, part

Floats = NDArray[np.float32]
_ZETA, _GAMMA = np.float32(1.1), np.float32(-0.1)
_STRETCH = np.float32(1.1 - -0.1)
_NONE, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


@kernel
def _soften(alpha, offset, gain, out, begin, end):
    for chunk in range(begin, end):
        alphas, offsets, gains, outs = (
            part(alpha, chunk),
            part(offset, chunk),
            part(gain, chunk),
            part(out, chunk),
        )
        for i in range(outs.size):
            sigmoid = _ONE / (_ONE + exp(-alphas[i]))
            h = min(max(sigmoid * _STRETCH + _GAMMA, _NONE), _ONE)
            outs[i] = offsets[i] + h * gains[i]


@kernel
def _gradient(alpha, gain, grad, out, sums, weight, beta, begin, end):
    slope = -_TWO * beta * weight
    held = np.empty((3, CHUNK), np.float32)
    distances, nears, slants = held[0], held[1], held[2]
    for chunk in range(begin, end):
        alphas, gains = part(alpha, chunk), part(gain, chunk)
        grads, outs = part(grad, chunk), part(out, chunk)
        total = 0.0
        if weight > _NONE:
            # Several short loops: compilers for AVX2 vectorise each, and not one that does it all.
            for i in range(outs.size):
                h, moves = _slope(alphas[i])
                distances[i], slants[i], outs[i] = _TWO * h - _ONE, grads[i] * gains[i], moves
            for i in range(outs.size):
                nears[i] = log(max(abs(distances[i]), LEAST))
            for i in range(outs.size):
                nears[i] = exp((beta - _ONE) * nears[i])
            for i in range(outs.size):
                total += np.float64(_ONE - nears[i] * abs(distances[i]))
                outs[i] *= slants[i] + slope * nears[i] * np.copysign(_ONE, distances[i])
        else:
            for i in range(outs.size):
                _, moves = _slope(alphas[i])
                outs[i] = grads[i] * gains[i] * moves
        sums[chunk] = total


@inline
def _slope(alpha: Any) -> Any:
    """The rectified sigmoid, and its derivative."""
    sigmoid = _ONE / (_ONE + exp(-alpha))
    stretched = sigmoid * _STRETCH + _GAMMA
    h = min(max(stretched, _NONE), _ONE)
    return h, _STRETCH * sigmoid * (_ONE - sigmoid) if stretched == h else _NONE


def soften(alpha: Floats, offset: Floats, gain: Floats, out: Floats) -> None:
    """Compute the soft weights.

    Args:
        alpha: Rounding variables, shape (N,).
        offset: The weight where h is 0.
        gain: What the weight gains where h is 1; 0 where the grid ends.
        out: Gets the weights.
    """
    divide(lambda begin, end: _soften(alpha, offset, gain, out, begin, end), chunks(out.size))


def gradient(
    alpha: Floats, gain: Floats, grad: Floats, out: Floats, *, regulariser: float, beta: float
) -> float:
    """Compute the gradient of alpha: through the weights, and of the regulariser.

    Args:
        alpha: Rounding variables, shape (N,).
        gain: As in `soften`.
        grad: Gradient of the weights.
        out: Gets the gradient of alpha.
        regulariser: Lambda; 0 leaves the regulariser out.
        beta: Its exponent.

    Returns:
        ``sum(1 - |2 h - 1|^beta)``; 0 where the regulariser is left out.
    """
    weight, exponent = np.float32(regulariser), np.float32(beta)
    sums = np.empty(chunks(out.size))
    divide(
        lambda begin, end: _gradient(alpha, gain, grad, out, sums, weight, exponent, begin, end), sums.size
    )
    return float(sums.sum())
