"""Choose the bases of activations that cost least to quantize per tensor, from calibration images.

Linear bottlenecks lose the mean of each channel, as Outlier Suppression+ (arXiv 2304.09145) does with the
residual stream of a transformer. Channels before a depthwise convolution are scaled so that one step fits
each of them, where cross-layer equalization (arXiv 1906.04721) gives the weights one range.

A layer's shift is in all the sums that it is part of: the means are zero where each value has a layer of its
own, and near zero by least squares elsewhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isinf
from typing import Any

import torch
from torch import Tensor, fx

from mrecg.config.rebasis import RebasisConfig
from mrecg.config.schema import CalibrationConfig
from mrecg.graph.basis import Map, Rebasis
from mrecg.graph.linear_values import Chain, depthwise_inputs, linear_chains
from mrecg.quant import ranges
from mrecg.quant.affine import qmax

_VALUES = 1 << 13
"""Values of a channel that a depthwise input's step is found from, at most."""
_BINS = 512
"""Of a channel's histogram."""
_LARGEST = 64.0
"""A channel is multiplied or divided by this factor, at most."""


@dataclass(frozen=True)
class Choice:
    """A re-basis, and what a user may want to know of it.

    Attributes:
        shifted: For each chain of linear bottlenecks the paths of the layers that it is the sum of.
        scaled: Paths of the depthwise convolutions whose input is scaled.
        images: That it was computed from.
    """

    rebasis: Rebasis
    shifted: tuple[tuple[str, ...], ...]
    scaled: tuple[str, ...]
    images: int


class _Watch(fx.Interpreter):
    """Shows the values of some nodes to functions."""

    def __init__(self, traced: fx.GraphModule, seen: Mapping[str, Callable[[Tensor], None]]) -> None:
        super().__init__(traced)
        self._seen = seen

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._seen:
            self._seen[n.name](value)
        return value


class _Mean:
    """Collects the mean of each channel."""

    def __init__(self, axis: int) -> None:
        self._axis, self._sum, self._count = axis, torch.zeros(1), 0

    def __call__(self, x: Tensor) -> None:
        rows = x.movedim(self._axis, -1).flatten(0, -2)
        self._sum = self._sum.to(x.device) + rows.sum(0, dtype=torch.float64)
        self._count += len(rows)

    def mean(self) -> Tensor:
        """Shape (C,), float64."""
        return (self._sum / self._count).cpu()


class _Channels:
    """Collects values of each channel."""

    def __init__(self, images: int) -> None:
        self._each = max(1, _VALUES // images)
        self._taken: list[Tensor] = []

    def __call__(self, x: Tensor) -> None:
        rows = x.flatten(2)
        every = -(-rows.shape[2] // self._each)
        self._taken.append(rows[:, :, ::every].transpose(0, 1).flatten(1).float().cpu())

    def rows(self) -> Tensor:
        """Shape (C, N)."""
        return torch.cat(self._taken, 1).contiguous()


@torch.no_grad()
def choose(
    traced: fx.GraphModule,
    images: Tensor,
    activations: Mapping[str, int],
    config: RebasisConfig,
    *,
    calibration: CalibrationConfig,
    batch: int,
) -> Choice:
    """Choose new bases for the values of a graph that are quantized.

    Args:
        traced: A folded graph, on the images' device; it is not changed.
        images: Calibration images; the first ``config.images`` of them are looked at.
        activations: Bits by the name of the node whose value is quantized.
        calibration: How ranges will be found.
        batch: Images a forward pass.

    Returns:
        The choice; the same for the same arguments.
    """
    shift, scale = config.parts()
    images = images[: config.images]
    found = [(chain, _points(chain, activations)) for chain in linear_chains(traced) if shift]
    chains = [(chain, points) for chain, points in found if points]
    taken = {path for chain, _ in chains for path in chain.producers}
    inputs = [
        pair
        for pair in depthwise_inputs(traced)
        if scale and pair.node in activations and pair.producer not in taken
    ]
    means = {node: _Mean(chain.axis) for chain, points in chains for node in points}
    channels = {pair.node: _Channels(len(images)) for pair in inputs}
    if means or channels:
        watch = _Watch(traced, {**means, **channels})
        for part in torch.split(images, batch):
            watch.run(part)
    outputs: dict[str, Map] = {}
    into: dict[str, Map] = {}
    caps: dict[str, Tensor] = {}
    for chain, points in chains:
        gives, takes = _shifts(chain, {node: means[node].mean() for node in points})
        outputs |= gives
        into |= takes
    for pair in inputs:
        factor = step_factors(channels[pair.node].rows(), qmax(activations[pair.node]), calibration)
        outputs[pair.producer], into[pair.reader] = Map(factor), Map(1 / factor)
        if not isinf(pair.cap):
            caps[pair.node] = pair.cap * factor
    return Choice(
        Rebasis(outputs, into, caps),
        shifted=tuple(chain.producers for chain, _ in chains),
        scaled=tuple(pair.reader for pair in inputs),
        images=len(images),
    )


def _points(chain: Chain, activations: Mapping[str, int]) -> list[str]:
    """The values of a chain that are quantized."""
    return [value.node for value in chain.values if value.node in activations]


def _shifts(chain: Chain, means: Mapping[str, Tensor]) -> tuple[dict[str, Map], dict[str, Map]]:
    """What the layers of a chain give, and what its readers read, so that the means are zero."""
    quantized = [value for value in chain.values if value.node in means]
    sums = torch.tensor([value.sums for value in quantized], dtype=torch.float64)
    steps = torch.linalg.pinv(sums) @ torch.stack([means[value.node] for value in quantized])
    outputs = {path: Map(shift=-step) for path, step in zip(chain.producers, steps, strict=True)}
    inputs = {
        path: Map(shift=torch.tensor(value.sums, dtype=torch.float64) @ steps)
        for value in chain.values
        for path in value.readers
    }
    return outputs, inputs


def step_factors(rows: Tensor, top: int, calibration: CalibrationConfig) -> Tensor:
    """Find the factors that give all channels of a value the step that the value as a whole would get.

    Args:
        rows: Values of each channel, shape (C, N).
        top: Largest integer of the grid.
        calibration: How ranges will be found.

    Returns:
        Shape (C,), float64, 1 / 64 to 64; 1 where a channel is zero throughout.
    """
    whole = _step(ranges.in_one_row(rows), top, calibration)
    low, high = ranges.extremes(rows)
    factors = (whole / _step(rows, top, calibration)).double().clamp(1 / _LARGEST, _LARGEST)
    return torch.where(low == high, 1.0, factors)


def _step(rows: Tensor, top: int, calibration: CalibrationConfig) -> Tensor:
    """The scale of each row's grid."""
    if calibration.activation_range == "minmax":
        return ranges.grid(*ranges.extremes(rows), top)[0]
    summary = ranges.summarise(rows, bins=_BINS)
    return ranges.search(summary, top, norm=calibration.norm, candidates=calibration.candidates)[0]
