"""The search of grids and integers by the error of the layer's output; see `mrecg.quant.output_metric`."""

import torch
from torch import Tensor

from mrecg.quant.output_descent import descend, polish
from mrecg.quant.output_metric import Rows, Solution, nearest, output_error, refit
from mrecg.quant.ranges import grid

FRACTIONS = tuple(1 - 0.75 * i / 21 for i in range(22))
"""Of the full range: those that are tried, the widest first."""
_TRIED_SWEEPS = 2


def solve(rows: Rows, found: Solution, *, sweeps: int) -> Solution:
    """Find integers and scale in turns: neither makes the error larger.

    Args:
        found: Where to begin.
        sweeps: Over the integers, in all.

    Returns:
        Grids and integers.
    """
    for _ in range(max(1, sweeps // 2)):
        found = descend(rows, found, sweeps=2)
        if rows.few:
            found = polish(rows, found)
        found = refit(rows, found)
    return found


def search(rows: Rows, *, symmetric: bool = False) -> Solution:
    """Choose the range of each grid by the error of the layer's output.

    Fractions of the full range are tried, then the zero points beside that of the best one.

    Args:
        symmetric: Whether grids are centred on zero.

    Returns:
        The grids, and the integers by which they were judged.
    """
    low, high = -rows.largest(-rows.weights.amin(2)), rows.largest(rows.weights.amax(2))
    best, least = _tried(rows, *grid(low, high, rows.top, symmetric=symmetric))
    for fraction in FRACTIONS[1:]:
        scale, zero = grid(fraction * low, fraction * high, rows.top, symmetric=symmetric)
        best, least = _better(rows, (best, least), _tried(rows, scale, zero))
    for shift in () if symmetric else (-1, 1):
        zero = (best.zero_point + shift).clamp(0, rows.top)
        best, least = _better(rows, (best, least), _tried(rows, best.scale, zero))
    return best


def _tried(rows: Rows, scale: Tensor, zero_point: Tensor) -> tuple[Solution, Tensor]:
    """Integers on a grid, and the error of each grid, shape (S,)."""
    found = Solution(scale, zero_point, nearest(rows, scale, zero_point))
    if rows.few:
        found = descend(rows, found, sweeps=_TRIED_SWEEPS)
    return found, rows.total(output_error(rows, found))


def _better(
    rows: Rows, one: tuple[Solution, Tensor], other: tuple[Solution, Tensor]
) -> tuple[Solution, Tensor]:
    """Take the better one grid by grid; the first where they are equal."""
    (a, least), (b, error) = one, other
    won = error < least
    integers = torch.where(won[rows.grids].unsqueeze(2), b.integers, a.integers)
    scale, zero = torch.where(won, b.scale, a.scale), torch.where(won, b.zero_point, a.zero_point)
    return Solution(scale, zero, integers), torch.where(won, error, least)
