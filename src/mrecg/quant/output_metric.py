"""Grids and integers of weights by the error that they make in the output of their layer.

An output channel of a layer computes ``w^T x`` for K inputs x. With the moments ``H = E[x x^T]`` of the
inputs the squared error of its output is ``e^T H e``, where e is the error of its weights. Centred moments
leave out what a bias corrects afterwards.

Shapes: G groups of channels that see the same inputs (1 in a dense layer, one per channel in a depthwise
one), O output channels of a group, K inputs of a channel, S grids. Plain torch on any device: everything is
computed for all channels at once, and only the K inputs of a channel one after the other.

Sources: coordinate descent as in COMQ, arXiv 2403.07134; the range by the error of the output as in LogART
and NeUQI. See docs/reference/methods.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mrecg.quant.affine import dequantize, quantize

DAMPING = 0.01
"""Of the mean of a group's diagonal, added to all of it: moments of few images are not believed entirely."""
FEW_INPUTS = 49
"""Channels with up to so many inputs of their own, as in a depthwise layer, get their integers by descent for
each range that is tried, not the nearest ones: a few weights have no other way to make up for each other."""
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


def _errors(rows: Rows, found: Solution) -> Tensor:
    scale, zero = rows.spread(found.scale), rows.spread(found.zero_point)
    return rows.weights - dequantize(found.integers, scale, zero)


def _quadratic(error: Tensor, moments: Tensor) -> Tensor:
    return (torch.bmm(error, moments) * error).sum(2)
