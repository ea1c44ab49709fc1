"""Integers moved to where the error of the layer's output is less; see `mrecg.quant.output_metric`."""

from dataclasses import replace

import torch
from torch import Tensor

from mrecg.quant.affine import dequantize
from mrecg.quant.output_metric import Rows, Solution

_BLOCK = 64
"""Inputs whose changes are collected before the other inputs hear of them."""


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
        for way, step_up in enumerate((1, -1)):
            out = ~_inside(integers[:, :, first] + step_up, top)
            out |= ~_inside(integers[:, :, second] + step_up * sign, top)
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
