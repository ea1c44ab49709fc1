"""Extremes, histograms and the search of ranges. Shapes: C rows, P points of a row, K candidates.

Source of the search: the L_p range of BRECQ, arXiv 2102.05426.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrecg.quant.kernels.functions import power
from mrecg.quant.kernels.jit import CHUNK, divide, inline, kernel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
F = np.float32
PIECE = 1 << 17
"""Values of a single row that share a histogram, at least; those of its pieces are added in order."""
VALUES_GRAIN = 1 << 18
"""Values a thread takes, at least, where each is read once."""
BLOCK = 64
"""Points whose error is summed in float32; then it is seen whether a candidate is still in play."""
ROWS_GRAIN = 4
"""Rows that a thread searches, at least."""
_LANES = 8
_INDICES = 1024
_LEAST = F(2.0**-149)
"""The smallest number above 0: widths and steps are positive, however small the values are."""
_MAGNITUDE = np.int32(0x7FFFFFFF)
_SIGN = np.int32(31)


def extremes(rows: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest value of each row.

    Args:
        rows: Shape (C, N), C-contiguous, not empty.

    Returns:
        Lows and highs, each of shape (C,); both NaN where a row has a NaN.
    """
    count, size = rows.shape
    length = CHUNK if count == 1 else size
    pieces = (rows.size + length - 1) // length
    low, high = np.empty(pieces, np.float32), np.empty(pieces, np.float32)
    flat = rows.reshape(-1)
    divide(
        lambda a, b: _extremes(flat, length, low, high, a, b), pieces, grain=max(1, VALUES_GRAIN // length)
    )
    if count == 1:  # numpy's minimum and maximum keep NaNs
        return low.min(keepdims=True), high.max(keepdims=True)
    return low, high


@kernel
def _extremes(values: Floats, length: int, low: Floats, high: Floats, begin: int, end: int) -> None:
    bits = values.view(np.int32)
    for piece in range(begin, end):
        # As integers in the order of the values: their minimum is vectorised, and NaNs are at both ends.
        least, most = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
        part = bits[piece * length : min((piece + 1) * length, bits.size)]
        for i in range(part.size):
            key = np.int32(part[i] ^ ((part[i] >> _SIGN) & _MAGNITUDE))
            least, most = min(least, key), max(most, key)
        a = np.int32(least ^ ((least >> _SIGN) & _MAGNITUDE)).view(np.float32)
        b = np.int32(most ^ ((most >> _SIGN) & _MAGNITUDE)).view(np.float32)
        low[piece] = a if b == b else b
        high[piece] = b if a == a else a


def histogram(rows: Floats, low: Floats, high: Floats, bins: int) -> tuple[Doubles, Doubles]:
    """Sum and count of the values in each bin.

    Args:
        rows: Shape (C, N), C-contiguous, not empty.
        low: Left edge of the first bin, shape (C,).
        high: Right edge of the last bin, shape (C,).

    Returns:
        Sums and counts, each of shape (C, bins). A value that is not a number counts in the first bin.
    """
    count, size = rows.shape
    length = max(PIECE, 64 * bins) if count == 1 else size
    pieces = (rows.size + length - 1) // length
    sums, counts = np.zeros((pieces, bins)), np.zeros((pieces, bins))
    flat = rows.reshape(-1)
    if count == 1:
        low, high = np.repeat(low, pieces), np.repeat(high, pieces)

    def run(begin: int, end: int) -> None:
        _histogram(flat, length, low, high, sums, counts, begin, end)

    divide(run, pieces, grain=max(1, VALUES_GRAIN // length))
    if count == 1 and pieces > 1:
        return sums.sum(0, keepdims=True), counts.sum(0, keepdims=True)
    return sums, counts


@inline
def _bin(x: Any, low: Any, width: Any, last: Any) -> Any:
    """Number of the bin, in floating point; 0 for what is not a number, before it becomes an index."""
    at = (x - low) / width
    at = at if at > F(0) else F(0)
    return at if at < last else last


@kernel
def _histogram(
    values: Floats,
    length: int,
    low: Floats,
    high: Floats,
    sums: Doubles,
    counts: Doubles,
    begin: int,
    end: int,
) -> None:
    bins = sums.shape[1]
    # After the bins: places for the values 0 and `high`, which ReLU and ReLU6 repeat. Additions to one place
    # would wait for each other.
    sum_, count = np.empty(bins + 2 * _LANES), np.empty(bins + 2 * _LANES, np.int64)
    index = np.empty(_INDICES, np.uint32)  # unsigned: no indices from the end
    for piece in range(begin, end):
        least, most = low[piece], high[piece]
        width = (most - least) / F(bins)
        width = _LEAST if width < _LEAST else width
        last = F(bins - 1)
        sum_[:] = 0
        count[:] = 0
        stop = min((piece + 1) * length, values.size)
        for first in range(piece * length, stop, _INDICES):
            part = values[first : min(first + _INDICES, stop)]
            for i in range(part.size):
                x = part[i]
                place = np.int32(_bin(x, least, width, last))
                lane = np.int32(bins) + (np.int32(i) & np.int32(_LANES - 1))
                place = lane if x == F(0) else place
                index[i] = lane + np.int32(_LANES) if x == most and x != F(0) else place
            for i in range(part.size):
                sum_[index[i]] += np.float64(part[i])
                count[index[i]] += np.int64(1)
        zero, top = int(_bin(F(0), least, width, last)), int(_bin(most, least, width, last))
        for i in range(bins, bins + _LANES):
            count[zero] += count[i]
            sum_[top] += sum_[i + _LANES]
            count[top] += count[i + _LANES]
        for i in range(bins):
            sums[piece, i] = sum_[i]
            counts[piece, i] = count[i]


def search(
    points: Floats,
    counts: Floats,
    low: Floats,
    high: Floats,
    shrink: Floats,
    *,
    top: int,
    norm: float,
    symmetric: bool,
) -> tuple[Floats, Floats]:
    """Shrink both ends of each row's range together, then each end alone, to the least L_p error.

    Args:
        points: Values, shape (C, P), C-contiguous.
        counts: How many each stands for, same shape.
        low: Lower end of the full range, <= 0, shape (C,).
        high: Upper end, >= 0, shape (C,).
        shrink: Factors to try, shape (K,); of two that are equally good the first is taken.
        top: Largest integer of the grid.
        norm: p.
        symmetric: Shrink both ends together only, on a grid centred on zero.

    Returns:
        Scale and zero point, each of shape (C,); the smallest scale there is for a row of zeros.
    """
    scale, zero = np.empty_like(low), np.empty_like(low)
    settings = F(top), float(norm), symmetric

    def run(begin: int, end: int) -> None:
        _search(points, counts, low, high, shrink, *settings, scale, zero, begin, end)

    divide(run, len(low), grain=ROWS_GRAIN)
    return scale, zero


@inline
def _scale(low: Any, high: Any, top: Any, symmetric: Any) -> Any:
    middle = np.floor((top + F(1)) / F(2))
    step = max(-low / middle, high / (top - middle)) if symmetric else (high - low) / top
    return _LEAST if step < _LEAST else step


@inline
def _zero(low: Any, scale: Any, top: Any, symmetric: Any) -> Any:
    level = np.floor((top + F(1)) / F(2)) if symmetric else np.rint(abs(low) / scale)
    return top if level > top else level


@kernel
def _error(
    x: Floats, weight: Floats, scale: Any, lowest: Any, highest: Any, norm: Any, bound: float
) -> float:
    """L_p error in units of the scale; any number above the bound, once it is above."""
    exponent = F(norm)
    total = 0.0
    for first in range(0, x.size, BLOCK):
        values, counts = x[first : first + BLOCK], weight[first : first + BLOCK]
        part = F(0)
        for i in range(values.size):
            ratio = values[i] / scale
            level = min(max(np.rint(ratio), lowest), highest)
            part += counts[i] * power(abs(level - ratio), exponent)
        total += np.float64(part)
        if total > bound:
            break
    return total


@kernel
def _search(
    points: Floats,
    counts: Floats,
    low: Floats,
    high: Floats,
    shrink: Floats,
    top: Any,
    norm: float,
    symmetric: bool,
    scale: Floats,
    zero: Floats,
    begin: int,
    end: int,
) -> None:
    size = (points.shape[1] + BLOCK - 1) // BLOCK * BLOCK
    x, weight = np.empty(size + 1, np.float32), np.empty(size + 1, np.float32)
    for row in range(begin, end):
        a, b = low[row], high[row]
        sound = np.isfinite(a) and np.isfinite(b) and np.isfinite(_scale(a, b, top, symmetric))
        if sound:
            # Outer points first: what is cut off costs most, so a range that is too small is found out early.
            used = 0
            for inner in range(2):
                for i in range(points.shape[1]):
                    value = points[row, i]
                    outer = value + value > b or value + value < a
                    x[used], weight[used] = value, counts[row, i]
                    used += int(outer != (inner == 1) and counts[row, i] > F(0))
            filled = (used + BLOCK - 1) // BLOCK * BLOCK
            x[used:filled] = 0
            weight[used:filled] = 0
            for ends in range(1 if symmetric else 3):
                if (ends == 1 and a == F(0)) or (ends == 2 and b == F(0)):
                    continue  # all candidates are one
                best, chosen = np.inf, 0
                for i in range(shrink.size):
                    c = a * shrink[i] if ends != 2 else a
                    d = b * shrink[i] if ends != 1 else b
                    step = _scale(c, d, top, symmetric)
                    level = _zero(c, step, top, symmetric)
                    unit = np.float64(step) ** norm
                    error = _error(x[:filled], weight[:filled], step, -level, top - level, norm, best / unit)
                    if error * unit < best:
                        best, chosen = error * unit, i
                a = a * shrink[chosen] if ends != 2 else a
                b = b * shrink[chosen] if ends != 1 else b
        scale[row] = _scale(a, b, top, symmetric) if sound else (b - a) / top
        zero[row] = _zero(a, scale[row], top, symmetric)
