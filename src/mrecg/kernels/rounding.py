"""The soft rounding of weights, and the gradient of its variable.

Arrays are flat float32. A weight is ``offset + h * gain``, where h is the rectified sigmoid of alpha.
"""

import numpy as np
from numpy.typing import NDArray

from mrecg.kernels.functions import exp, power
from mrecg.kernels.jit import chunks, divide, kernel, part

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
    for chunk in range(begin, end):
        alphas, gains = part(alpha, chunk), part(gain, chunk)
        grads, outs = part(grad, chunk), part(out, chunk)
        total = 0.0
        for i in range(outs.size):
            sigmoid = _ONE / (_ONE + exp(-alphas[i]))
            stretched = sigmoid * _STRETCH + _GAMMA
            h = min(max(stretched, _NONE), _ONE)
            moves = _STRETCH * sigmoid * (_ONE - sigmoid) if stretched == h else _NONE
            slant = grads[i] * gains[i]
            if weight > _NONE:
                distance = _TWO * h - _ONE
                near = power(abs(distance), beta - _ONE)
                total += np.float64(_ONE - near * abs(distance))
                slant += slope * near * np.copysign(_ONE, distance)
            outs[i] = slant * moves
        sums[chunk] = total


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
