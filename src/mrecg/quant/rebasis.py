"""Choose the bases of activations that cost least to quantize, from calibration images.

Linear bottlenecks are shifted by their means and rotated by random orthogonal matrices, as QuaRot
(arXiv 2404.00456) and Outlier Suppression+ (arXiv 2304.09145) do with the residual stream of a transformer;
channels before a depthwise convolution are scaled so that one step fits each of them, as cross-layer
equalization (arXiv 1906.04721) gives them one range.
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
from mrecg.quant.chain_basis import ChainBasis, Seen, chain_basis

_PLACES = 16
"""Places of an image that a chain's vectors are taken from."""
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
        chains: One record for each chain of bottlenecks that could be changed: its first layer, its values,
            whether it is shifted, the number of the matrix that it is rotated by, and the error behind its
            quantizers before and after.
        scaled: Paths of the depthwise convolutions whose input is scaled.
        images: That it was computed from.
    """

    rebasis: Rebasis
    chains: tuple[dict[str, Any], ...]
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


class _Vectors:
    """Collects the mean of each channel, and vectors at some places of each image."""

    def __init__(self, axis: int) -> None:
        self._axis, self._sum, self._count = axis, torch.zeros(1), 0
        self._taken: list[Tensor] = []

    def __call__(self, x: Tensor) -> None:
        rows = x.movedim(self._axis, -1).flatten(1, -2) if x.dim() > 2 else x.unsqueeze(1)
        self._sum = self._sum.to(x.device) + rows.sum((0, 1), dtype=torch.float64)
        self._count += rows.shape[0] * rows.shape[1]
        every = max(1, rows.shape[1] // _PLACES)
        self._taken.append(rows[:, every // 2 :: every].reshape(-1, rows.shape[2]).float().cpu())

    def seen(self) -> Seen:
        return Seen((self._sum / self._count).cpu(), torch.cat(self._taken))


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
    seed: int,
) -> Choice:
    """Choose new bases for the values of a graph that are quantized.

    Args:
        traced: A folded graph, on the images' device; it is not changed.
        images: Calibration images; the first ``config.images`` of them are looked at.
        activations: Bits by the name of the node whose value is quantized.
        calibration: How ranges will be found.
        batch: Images a forward pass.
        seed: Of the random matrices.

    Returns:
        The choice; the same for the same arguments.
    """
    shift, rotate, scale = config.parts()
    images = images[: config.images]
    chains = [
        chain
        for chain in linear_chains(traced)
        if any(value.node in activations for value in chain.values)
        and ((shift and chain.shifts) or (rotate and chain.rotates))
    ]
    inputs = [pair for pair in depthwise_inputs(traced) if scale and pair.node in activations]
    vectors = {
        value.node: _Vectors(chain.axis)
        for chain in chains
        for value in chain.values
        if value.node in activations
    }
    channels = {pair.node: _Channels(len(images)) for pair in inputs}
    if chains or inputs:
        watch = _Watch(traced, {**vectors, **channels})
        for part in torch.split(images, batch):
            watch.run(part)
    outputs: dict[str, Map] = {}
    into: dict[str, Map] = {}
    caps: dict[str, Tensor] = {}
    records = []
    for number, chain in enumerate(chains):
        seeds = [(seed * 1009 + number) * 101 + attempt for attempt in range(config.tries)]
        found = chain_basis(
            traced,
            chain,
            {v.node: vectors[v.node].seen() for v in chain.values if v.node in vectors},
            activations,
            calibration=calibration,
            shift=shift and chain.shifts,
            seeds=seeds if rotate and chain.rotates else [],
        )
        outputs |= found.outputs
        into |= found.inputs
        records.append(_record(chain, found))
    for pair in inputs:
        factor = step_factors(channels[pair.node].rows(), qmax(activations[pair.node]), calibration)
        outputs[pair.producer], into[pair.reader] = Map(factor), Map(1 / factor)
        if not isinf(pair.cap):
            caps[pair.node] = pair.cap * factor
    return Choice(
        Rebasis(outputs, into, caps), tuple(records), tuple(pair.reader for pair in inputs), len(images)
    )


def _record(chain: Chain, found: ChainBasis) -> dict[str, Any]:
    return {
        "first": chain.producers[0],
        "values": len(chain.values),
        "shifted": found.shifts,
        "rotated": found.attempt,
        "error_before": found.before,
        "error_after": found.after,
    }


def step_factors(rows: Tensor, top: int, calibration: CalibrationConfig) -> Tensor:
    """Find the factors that give all channels of a value the step that the value as a whole would get.

    Args:
        rows: Values of each channel, shape (C, N).
        top: Largest integer of the grid.
        calibration: How ranges will be found.

    Returns:
        Shape (C,), float64, 1 / 64 to 64; 1 where a channel is zero throughout.
    """
    whole, _ = _grid(ranges.in_one_row(rows), top, calibration)
    steps, _ = _grid(rows, top, calibration)
    low, high = ranges.extremes(rows)
    factors = (whole / steps).double().clamp(1 / _LARGEST, _LARGEST)
    return torch.where(low == high, 1.0, factors)


def _grid(rows: Tensor, top: int, calibration: CalibrationConfig) -> tuple[Tensor, Tensor]:
    if calibration.activation_range == "minmax":
        return ranges.grid(*ranges.extremes(rows), top)
    summary = ranges.summarise(rows, bins=_BINS)
    return ranges.search(summary, top, norm=calibration.norm, candidates=calibration.candidates)
