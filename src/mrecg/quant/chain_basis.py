"""The basis of a chain of linear bottlenecks: shifts, and one orthogonal matrix.

The shift of each value is the mean of its channels; those of the layers that add up to the values follow by
least squares, and are exact where each value has a layer of its own. Whether a basis is better is judged by
the error that its quantizers leave in what the readers make of the values, on images that were held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from mrecg.config.schema import CalibrationConfig
from mrecg.graph.basis import Map
from mrecg.graph.linear_values import Chain
from mrecg.quant import ranges
from mrecg.quant.affine import dequantize, qmax, quantize


@dataclass(frozen=True)
class Seen:
    """What calibration images make of a value.

    Attributes:
        mean: Of each channel, shape (C,), float64.
        rows: Vectors of channels, shape (N, C), in the order of the images.
    """

    mean: Tensor
    rows: Tensor


@dataclass(frozen=True)
class ChainBasis:
    """The new basis of a chain.

    Attributes:
        outputs: See `mrecg.graph.basis.Rebasis`.
        inputs: Likewise.
        shifts: Whether it is shifted.
        attempt: Number of the matrix that it is rotated by; None: it is not.
        before: Error behind the quantizers, a fraction of what the readers make of the values.
        after: Likewise, in the new basis.
    """

    outputs: dict[str, Map]
    inputs: dict[str, Map]
    shifts: bool
    attempt: int | None
    before: float
    after: float


@dataclass(frozen=True)
class _Point:
    """A value that is quantized, centred."""

    rows: Tensor
    mean: Tensor
    gram: Tensor
    top: int


def chain_basis(
    traced: fx.GraphModule,
    chain: Chain,
    seen: Mapping[str, Seen],
    activations: Mapping[str, int],
    *,
    calibration: CalibrationConfig,
    shift: bool,
    seeds: list[int],
) -> ChainBasis:
    """Choose the basis of a chain.

    Args:
        traced: The graph.
        seen: By node, of the values of the chain that are quantized.
        activations: Bits by node.
        calibration: How ranges will be found.
        shift: Whether it may be shifted.
        seeds: Of the matrices that are tried; none where it may not be rotated.

    Returns:
        The best one found, which may be the one that it has.
    """
    values = [value for value in chain.values if value.node in seen]
    sums = torch.tensor([value.sums for value in values], dtype=torch.float64)
    means = torch.stack([seen[value.node].mean for value in values])
    # Of the layers, from those of the values; of all values again.
    steps = torch.linalg.pinv(sums) @ means
    readers = {value.node: [traced.get_submodule(path) for path in value.readers] for value in values}
    points = [
        _Point(
            rows=seen[value.node].rows,
            mean=mean.float(),
            gram=_gram(readers[value.node], chain.channels),
            top=qmax(activations[value.node]),
        )
        for value, mean in zip(values, sums @ steps, strict=True)
    ]

    def error(shifts: bool, matrix: Tensor | None) -> float:
        return sum(_error(point, shifts, matrix, calibration) for point in points) / len(points)

    before = after = error(False, None)
    shifts = False
    if shift and (found := error(True, None)) < after:
        shifts, after = True, found
    attempt, chosen = None, None
    for number, seed in enumerate(seeds):
        matrix = orthogonal(chain.channels, seed)
        if (found := error(shifts, matrix.float())) < after:
            attempt, chosen, after = number, matrix, found
    outputs: dict[str, Map] = {}
    inputs: dict[str, Map] = {}
    if not shifts and chosen is None:
        return ChainBasis(outputs, inputs, shifts, attempt, before, after)
    for path, step in zip(chain.producers, steps, strict=True):
        moved = step if chosen is None else chosen @ step
        outputs[path] = Map(chosen, -moved if shifts else None)
    back = None if chosen is None else chosen.T
    for value in chain.values:
        moved = torch.tensor(value.sums, dtype=torch.float64) @ steps
        inputs |= {path: Map(back, moved if shifts else None) for path in value.readers}
    return ChainBasis(outputs, inputs, shifts, attempt, before, after)


def orthogonal(channels: int, seed: int) -> Tensor:
    """Draw a random orthogonal matrix, evenly among all of them.

    Returns:
        Shape (C, C), float64.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    q: Tensor
    q, r = torch.linalg.qr(drawn)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def _gram(readers: list[nn.Module], channels: int) -> Tensor:
    """Sum of ``W.T @ W`` over the readers and the taps of their kernels, the trace 1 each; shape (C, C)."""
    found = torch.zeros(channels, channels)
    for layer in readers:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        groups = int(getattr(layer, "groups", 1))
        own = weight.detach().cpu().float().reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        blocks = torch.einsum("goit,gojt->gij", own, own)
        whole: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        found += whole / whole.trace().clamp(min=torch.finfo(whole.dtype).tiny)
    return found if readers else torch.eye(channels) / channels


def _error(point: _Point, shifts: bool, matrix: Tensor | None, calibration: CalibrationConfig) -> float:
    """Squared error of what the readers make of a value, in a basis, as a fraction of its variance."""
    rows = point.rows - point.mean if shifts else point.rows
    rows = rows if matrix is None else rows @ matrix.T
    half = len(rows) // 2
    learned, held_out = rows[:half], rows[half:]
    if calibration.activation_range == "lp":
        summary = ranges.summarise(ranges.in_one_row(learned), bins=calibration.bins)
        scale, zero = ranges.search(
            summary, point.top, norm=calibration.norm, candidates=calibration.candidates
        )
    else:
        scale, zero = ranges.grid(*ranges.extremes(ranges.in_one_row(learned)), point.top)
    left = dequantize(quantize(held_out, scale, zero, point.top), scale, zero) - held_out
    left = left if matrix is None else left @ matrix
    spread = point.rows[half:] - point.rows[half:].mean(0)
    whole = float(((spread @ point.gram) * spread).sum())
    return float(((left @ point.gram) * left).sum()) / max(whole, torch.finfo(torch.float32).tiny)
