"""Find the range of a grid: extremes, or the minimum of an L_p error.

The error of a candidate is computed from a weighted summary of the values (a histogram), so a candidate costs
O(bins) for any size of the tensor. Shapes: C channels (1 for a whole tensor), P points of the summary, K
candidates. Fused kernels do this for float32 on the CPU; what is written out here is the reference for them,
and serves everything else.

Source: the L_p range of BRECQ, arXiv 2102.05426, and all that follow it; p = 2.4.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrecg.quant import kernels
from mrecg.quant.affine import dequantize, quantize
from mrecg.quant.kernels.switch import serves

EXACT_POINTS = 512
"""Channels with up to this many values are searched without a histogram."""
_USUAL = 2.0**-15, 2.0**20
"""Ranges whose errors to the power of the norm are computed as they are: float32 holds them."""
_WORK = 1 << 22
"""Elements of one vectorised evaluation, at most: bounds the memory of the search."""


@dataclass(frozen=True)
class Summary:
    """A weighted summary of the values of C channels.

    Attributes:
        points: Representative values, shape (C, P).
        counts: How many values each stands for, shape (C, P).
        low: Smallest value or 0, shape (C,).
        high: Largest value or 0, shape (C,).
    """

    points: Tensor
    counts: Tensor
    low: Tensor
    high: Tensor


def in_one_row(x: Tensor) -> Tensor:
    """Flatten a tensor in the order of its memory, so that one without gaps is not copied.

    Args:
        x: Any shape.

    Returns:
        Shape (1, numel).
    """
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    return x.permute(order).reshape(1, -1)


def extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    """Find the smallest range that holds 0 and all values of a row.

    Args:
        values: Shape (C, N), N > 0.

    Returns:
        Smallest value or 0 and largest value or 0, each of shape (C,); NaN where a row has a NaN.
    """
    if serves(values) and values.numel():
        low, high = map(torch.from_numpy, kernels.ranges.extremes(_array(values)))
    else:
        low, high = values.amin(1), values.amax(1)
    return low.clamp(max=0), high.clamp(min=0)


def summarise(values: Tensor, *, bins: int) -> Summary:
    """Summarise the rows of a matrix by histograms whose bins stand for the mean of what fell into them.

    Args:
        values: Shape (C, N).
        bins: Bins per channel; rows of up to `EXACT_POINTS` values are kept exactly.

    Returns:
        The summary, P = min(N, bins) or N.
    """
    low, high = extremes(values)
    if values.shape[1] <= EXACT_POINTS:
        return Summary(values, torch.ones_like(values), low, high)
    sums, counts = histogram(values, low, high, bins=bins)
    return Summary((sums / counts.clamp(min=1)).to(values.dtype), counts.to(values.dtype), low, high)


def histogram(values: Tensor, low: Tensor, high: Tensor, *, bins: int) -> tuple[Tensor, Tensor]:
    """Sum and count of the values in each bin.

    Args:
        values: Shape (C, N).
        low: Left edge of the first bin, shape (C,).
        high: Right edge of the last bin, shape (C,).

    Returns:
        Sums and counts, each of shape (C, bins), float64: float32 stops counting at 2^24, which one batch of
        activations can put into a single bin.
    """
    if serves(values, low, high) and values.numel():
        sums, counts = map(
            torch.from_numpy, kernels.ranges.histogram(_array(values), _array(low), _array(high), bins)
        )
        return sums, counts
    width = ((high - low) / bins).clamp(min=_least(values.dtype)).unsqueeze(1)
    sums = values.new_zeros(values.shape[0], bins, dtype=torch.float64)
    counts = torch.zeros_like(sums)
    for part in torch.split(values, max(1, _WORK // values.shape[0]), dim=1):
        index = ((part - low.unsqueeze(1)) / width).long().clamp_(0, bins - 1)
        exact = part.double()
        sums.scatter_add_(1, index, exact)
        counts.scatter_add_(1, index, torch.ones_like(exact))
    return sums, counts


def grid(low: Tensor, high: Tensor, top: int, *, symmetric: bool = False) -> tuple[Tensor, Tensor]:
    """Scale and zero point of the grid that spans a range.

    Args:
        low: Lower end, <= 0.
        high: Upper end, >= 0, same shape.
        top: Largest integer of the grid.
        symmetric: Centre the grid on zero (zero point ``(top + 1) / 2``).

    Returns:
        Scale (> 0) and zero point (whole, 0 to ``top``), each of the shape of ``low``. What is 0 throughout
        has nothing to be fine for: its scale is the widest of the others, but at most the type's epsilon.

    >>> grid(torch.tensor(0.0), torch.tensor(3.0), 3)
    (tensor(1.), tensor(0.))
    """
    empty = (low == 0) & (high == 0)
    if symmetric:
        middle = (top + 1) // 2
        scale = _positive(torch.maximum(-low / middle, high / (top - middle)), empty)
        return scale, torch.full_like(scale, middle)
    scale = _positive((high - low) / top, empty)
    return scale, torch.round(low.abs() / scale).clamp(max=top)


def _least(dtype: torch.dtype) -> float:
    """The smallest number above 0."""
    about = torch.finfo(dtype)
    return about.tiny * about.eps


def _positive(scale: Tensor, empty: Tensor) -> Tensor:
    """Scales above 0, in proportion to what was seen; where nothing was, any number that does no harm."""
    widest, epsilon = scale.masked_fill(empty, 0).max(), torch.finfo(scale.dtype).eps
    harmless = torch.where(widest > 0, widest.clamp(max=epsilon), epsilon)
    return torch.where(empty, harmless.to(scale), scale.clamp(min=_least(scale.dtype)))


def lp_error(
    summary: Summary, low: Tensor, high: Tensor, top: int, *, norm: float, symmetric: bool
) -> Tensor:
    """L_p error of K candidate ranges per channel.

    Args:
        low: Shape (C, K).
        high: Shape (C, K).
        top: Largest integer of the grid.
        norm: p.
        symmetric: As in `grid`.

    Returns:
        Sum of ``|x - grid(x)|^p`` over the values, shape (C, K).
    """
    channels, points = summary.points.shape
    out = torch.empty_like(low)
    step = max(1, _WORK // max(1, channels * points))
    for begin in range(0, low.shape[1], step):
        part = slice(begin, begin + step)
        scale, zero = (t.unsqueeze(2) for t in grid(low[:, part], high[:, part], top, symmetric=symmetric))
        x = summary.points.unsqueeze(1)
        error = (dequantize(quantize(x, scale, zero, top), scale, zero) - x).abs_().pow_(norm)
        out[:, part] = (error * summary.counts.unsqueeze(1)).sum(2)
    return out


def search(
    summary: Summary, top: int, *, norm: float, candidates: int, symmetric: bool = False
) -> tuple[Tensor, Tensor]:
    """Shrink both ends of the range together, then each end alone, to the least L_p error.

    Args:
        top: Largest integer of the grid.
        norm: p of the error, 2.4 in the literature.
        candidates: Ranges tried in each of the three rounds.
        symmetric: As in `grid`.

    Returns:
        Scale and zero point, each of shape (C,).
    """
    # Full range first: ties keep the wider range.
    shrink = 1 - torch.arange(candidates, dtype=summary.low.dtype, device=summary.low.device) / candidates
    low, high = summary.low, summary.high
    empty = (low == 0) & (high == 0)
    if serves(summary.points, summary.counts, low, high):
        arrays = map(_array, (summary.points, summary.counts, low, high, shrink))
        found = kernels.ranges.search(*arrays, top=top, norm=norm, symmetric=symmetric)
        return _positive(torch.from_numpy(found[0]), empty), torch.from_numpy(found[1])
    summary, exponent = _of_usual_size(summary)
    low, high = summary.low, summary.high
    for ends in ("both",) if symmetric else ("both", "low", "high"):
        lows = low.unsqueeze(1) * (shrink if ends != "high" else torch.ones_like(shrink))
        highs = high.unsqueeze(1) * (shrink if ends != "low" else torch.ones_like(shrink))
        best = lp_error(summary, lows, highs, top, norm=norm, symmetric=symmetric).argmin(1, keepdim=True)
        low, high = lows.gather(1, best).squeeze(1), highs.gather(1, best).squeeze(1)
    scale, zero = grid(low, high, top, symmetric=symmetric)
    return _positive(torch.ldexp(scale, exponent), empty), zero


def _of_usual_size(summary: Summary) -> tuple[Summary, Tensor]:
    """Divide tiny and huge rows by a power of two, so that a power of their errors is a number."""
    extent = torch.maximum(-summary.low, summary.high)
    usual = ((extent >= _USUAL[0]) & (extent <= _USUAL[1])) | (extent == 0)
    exponent = torch.where(usual, 0, torch.frexp(extent).exponent.clamp(-126, 126))
    if bool(usual.all()):
        return summary, exponent
    factor = torch.ldexp(torch.ones_like(extent), -exponent)
    points = summary.points * factor.unsqueeze(1)
    return Summary(points, summary.counts, summary.low * factor, summary.high * factor), exponent


def _array(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.detach().contiguous().numpy()
    return array
