"""Grids and integers of weights by the error that they make in the output of their layer.

An output channel of a layer computes ``w^T x`` for K inputs x. With the moments ``H = E[x x^T]`` of the
inputs the squared error of its output is ``e^T H e``, where e is the error of its weights. Centred moments
leave out what a bias corrects afterwards.

Shapes: G groups of channels that see the same inputs (1 in a dense layer, one per channel in a depthwise
one), O output channels of a group, K inputs of a channel, S grids. Plain torch on any device: everything is
computed for all channels at once, and only the K inputs of a channel one after the other.

Sources: coordinate descent as in COMQ, arXiv 2403.07134; the range by the error of the output as in LogART
and NeUQI. See docs/methods.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mrecg.quant.affine import dequantize, quantize
from mrecg.quant.ranges import grid

DAMPING = 0.01
"""Of the mean of a group's diagonal, added to all of it: moments of few images are not believed entirely."""
FEW_INPUTS = 49
"""Channels with up to so many inputs of their own, as in a depthwise layer, get their integers by descent for
each range that is tried, not the nearest ones: a few weights have no other way to make up for each other."""
FRACTIONS = tuple(1 - 0.75 * i / 21 for i in range(22))
"""Of the full range: those that are tried, the widest first."""
_TRIED_SWEEPS = 2
_BLOCK = 64
"""Inputs whose changes are collected before the other inputs hear of them."""
_WORK = 1 << 24
"""Elements of one vectorised evaluation, at most: bounds the memory of the search."""


@dataclass(frozen=True)
class Rows:
    """The weights of a layer, arranged by what they see.

    Attributes:
        weights: Shape (G, O, K).
        moments: Of the inputs, damped, shape (G, K, K).
        grids: To which grid each channel belongs, shape (G, O), int64, 0 to S - 1.
        top: Largest integer of a grid.
    """

    weights: Tensor
    moments: Tensor
    grids: Tensor
    top: int

    @property
    def count(self) -> int:
        """S."""
        return int(self.grids.max()) + 1

    @property
    def few(self) -> bool:
        """Whether each channel has a few inputs of its own."""
        return self.weights.shape[1] == 1 and self.weights.shape[2] <= FEW_INPUTS

    def spread(self, numbers: Tensor) -> Tensor:
        """Give each channel the number of its grid.

        Args:
            numbers: Shape (S,).

        Returns:
            Shape (G, O, 1).
        """
        return numbers[self.grids].unsqueeze(2)

    def total(self, values: Tensor) -> Tensor:
        """Add up numbers of channels by their grids.

        Args:
            values: Shape (G, O).

        Returns:
            Shape (S,).
        """
        return values.new_zeros(self.count).index_add_(0, self.grids.reshape(-1), values.reshape(-1))

    def largest(self, values: Tensor) -> Tensor:
        """Find the largest number of each grid's channels, or 0.

        Args:
            values: Shape (G, O).

        Returns:
            Shape (S,).
        """
        zeros = values.new_zeros(self.count)
        return zeros.scatter_reduce_(0, self.grids.reshape(-1), values.reshape(-1), "amax")

    def parts(self, work: int) -> Iterator[slice]:
        """Cut the groups into parts of bounded size.

        Args:
            work: Elements that a group takes.
        """
        step = max(1, _WORK // max(1, work))
        for begin in range(0, len(self.weights), step):
            yield slice(begin, begin + step)


@dataclass(frozen=True)
class Solution:
    """Grids and integers of a layer.

    Attributes:
        scale: Shape (S,).
        zero_point: Whole numbers, shape (S,).
        integers: 0 to the top, in a floating type, shape (G, O, K).
    """

    scale: Tensor
    zero_point: Tensor
    integers: Tensor


def damped(moments: Tensor, share: float = DAMPING) -> Tensor:
    """Add a part of the mean of the diagonal to the diagonal.

    Args:
        moments: Shape (G, K, K).
        share: Which part.

    Returns:
        The same shape; the identity where a group has only zeros: there the weights' own error counts.
    """
    diagonal = moments.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(1, keepdim=True)
    extra = torch.where(mean > 0, share * mean, torch.ones_like(mean))
    return moments + torch.diag_embed(extra.expand_as(diagonal))


def nearest(rows: Rows, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Round to the nearest grid points.

    Args:
        scale: Shape (S,).
        zero_point: Shape (S,).

    Returns:
        Integers, shape (G, O, K).
    """
    return quantize(rows.weights, rows.spread(scale), rows.spread(zero_point), rows.top)


def output_error(rows: Rows, found: Solution) -> Tensor:
    """Mean squared error of each output channel.

    Args:
        found: Grids and integers.

    Returns:
        ``e^T H e``, shape (G, O).
    """
    return _quadratic(_errors(rows, found), rows.moments)


def descend(rows: Rows, found: Solution, *, sweeps: int) -> Solution:
    """Move the integers of each channel one after the other to where its error is least, given all others.

    No move makes the error larger.

    Args:
        found: Where to begin.
        sweeps: How often each integer is visited, at most.

    Returns:
        The same grids with other integers.
    """
    integers = torch.empty_like(found.integers)
    channels, inputs = rows.weights.shape[1:]
    scale, zero = rows.spread(found.scale), rows.spread(found.zero_point)
    for part in rows.parts(channels * inputs):
        at = Solution(scale[part], zero[part], found.integers[part])
        integers[part] = _descend(rows.weights[part], rows.moments[part], at, rows.top, sweeps)
    return replace(found, integers=integers)


def refit(rows: Rows, found: Solution) -> Solution:
    """Choose the scale of each grid by least squares, for the integers that it has.

    Args:
        found: Grids and integers.

    Returns:
        The same with ``s = sum(w^T H u) / sum(u^T H u)``, u = q - z, over the grid's channels; a scale stays
        where that is not above 0.
    """
    level = found.integers - rows.spread(found.zero_point)
    seen = torch.bmm(level, rows.moments)
    above, below = rows.total((seen * rows.weights).sum(2)), rows.total((seen * level).sum(2))
    scale = above / below
    sound = (above > 0) & (below > 0) & scale.isfinite() & (scale > 0)
    return replace(found, scale=torch.where(sound, scale, found.scale))


def polish(rows: Rows, found: Solution, *, moves: int = 64) -> Solution:
    """Move one or two integers of each channel by a step, as often as that makes its error smaller.

    Moves that only pay together are beyond a descent one by one, and nine weights have many of them. Each
    time the best move of all is taken. Meant for few inputs: K inputs have 2 K^2 moves.

    Args:
        found: Where to begin.
        moves: At most so many.

    Returns:
        The same grids with other integers.
    """
    integers = torch.empty_like(found.integers)
    channels, inputs = rows.weights.shape[1:]
    scale, zero = rows.spread(found.scale), rows.spread(found.zero_point)
    for part in rows.parts(2 * channels * inputs**2):
        at = Solution(scale[part], zero[part], found.integers[part])
        integers[part] = _polish(rows.weights[part], rows.moments[part], at, rows.top, moves)
    return replace(found, integers=integers)


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


def _errors(rows: Rows, found: Solution) -> Tensor:
    scale, zero = rows.spread(found.scale), rows.spread(found.zero_point)
    return rows.weights - dequantize(found.integers, scale, zero)


def _quadratic(error: Tensor, moments: Tensor) -> Tensor:
    return (torch.bmm(error, moments) * error).sum(2)


def _descend(weights: Tensor, moments: Tensor, at: Solution, top: int, sweeps: int) -> Tensor:
    """Coordinate descent; scale and zero point are spread.

    The other inputs of a block hear of each move at once, those after it of all of them together.
    """
    # Inputs first, so that what belongs to one input lies together.
    integers = at.integers.permute(2, 0, 1).contiguous()
    scale, zero = at.scale.squeeze(2), at.zero_point
    diagonal = moments.diagonal(dim1=1, dim2=2).t().unsqueeze(2)
    for _ in range(sweeps):
        before = integers.clone()
        error = weights - dequantize(integers.permute(1, 2, 0), at.scale, zero)
        slope = torch.bmm(error, moments).permute(2, 0, 1).contiguous()
        for first in range(0, len(integers), _BLOCK):
            block = slice(first, first + _BLOCK)
            steps = integers[block].clone()
            within, between = moments[:, block, block], moments[:, block, first + _BLOCK :]
            for k in range(len(steps)):
                old, own = integers[first + k], slope[first + k]
                new = (old + own / (scale * diagonal[first + k])).round_().clamp_(0, top)
                slope[block].addcmul_(within[:, k].t().unsqueeze(2), ((old - new) * scale).unsqueeze(0))
                integers[first + k] = new
            moved = ((steps - integers[block]) * scale).permute(1, 2, 0)
            slope[first + _BLOCK :] += torch.bmm(moved, between).permute(2, 0, 1)
        if torch.equal(before, integers):
            break
    return integers.permute(1, 2, 0)


def _polish(weights: Tensor, moments: Tensor, at: Solution, top: int, moves: int) -> Tensor:
    """Take the best move again and again; scale and zero point are spread."""
    inputs = weights.shape[2]
    # One integer is a pair whose second step is 0.
    first, second = torch.triu_indices(inputs, inputs, 1, device=weights.device)
    each = torch.arange(inputs, device=weights.device)
    first, second = torch.cat([first, first, each]), torch.cat([second, second, each])
    pairs = (len(first) - inputs) // 2
    sign = torch.ones(len(first), dtype=weights.dtype, device=weights.device)
    sign[pairs : 2 * pairs], sign[2 * pairs :] = -1, 0
    diagonal = moments.diagonal(dim1=1, dim2=2)
    cross = moments[:, first, second] * sign
    bend = diagonal[:, first] + diagonal[:, second] * sign.abs() + 2 * cross
    integers, step = at.integers.clone(), at.scale
    for _ in range(moves):
        slope = torch.bmm(weights - dequantize(integers, step, at.zero_point), moments)
        # A move d of the integers changes the error by s^2 d^T H d - 2 s d^T H e; so does -d.
        gain = 2 * step * (slope[:, :, first] + sign * slope[:, :, second])
        cost = step.square() * bend.unsqueeze(1)
        change = torch.stack([cost - gain, cost + gain])
        for way, up in enumerate((1, -1)):
            out = ~_inside(integers[:, :, first] + up, top)
            out |= ~_inside(integers[:, :, second] + up * sign, top)
            change[way].masked_fill_(out, float("inf"))
        least, which = change.permute(1, 2, 0, 3).flatten(2).min(2, keepdim=True)
        # Less than what float32 cannot tell from nothing is no gain.
        better = least < -1e-5 * cost.gather(2, which % len(first))
        if not bool(better.any()):
            break
        up = torch.where(which < len(first), 1.0, -1.0).to(weights.dtype) * better
        place = which % len(first)
        integers.scatter_add_(2, first[place], up)
        integers.scatter_add_(2, second[place], up * sign[place])
    return integers


def _inside(integers: Tensor, top: int) -> Tensor:
    return (integers >= 0) & (integers <= top)
