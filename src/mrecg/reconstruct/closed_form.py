"""Solve quantized units in closed form: grids, integers, gain and bias of each layer from moments.

Units and their layers come in the order of the network, each with the inputs that its quantized predecessors
give it. What that does to the network's prediction, with the full-precision rest after the unit, decides on
held-out images what is kept of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mrecg.data.sampling import evenly
from mrecg.methods.passes import Pass, Solve
from mrecg.quant.input_moments import Moments
from mrecg.quant.layer_rows import Arrangement
from mrecg.quant.modules import QuantizedLayer, layers_of, quantization
from mrecg.quant.output_search import search, solve
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.group_state import agree, remembered, restore
from mrecg.reconstruct.held_out import Predictions
from mrecg.reconstruct.output_ranges import watch
from mrecg.reconstruct.rolling_cache import GroupCache

SURE = 0.9
"""Correlation of a channel's output with its target from which the gain is that of least squares. Below,
least squares would shrink noisy channels layer after layer; there the gain restores their spread."""
LARGEST_GAIN = 0.7
"""Logarithm of the largest gain."""


class Solver:
    """Solves units one after the other.

    Args:
        pass_: What it does; it has a `Solve`.
    """

    def __init__(self, context: Context, pass_: Pass) -> None:
        assert pass_.solve is not None
        self._context, self._pass, self._task = context, pass_, pass_.solve
        self._predictions = Predictions(context)

    @torch.no_grad()
    def solve(self, index: int, quantized: Store, full: Store) -> None:
        """Solve a unit, in place.

        Args:
            index: The unit.
            quantized: What the quantized prefix gives it, shape (N, ...).
            full: What the full-precision prefix gives it, same shape.
        """
        context = self._context
        low = context.network.low[index]
        layers = layers_of(low)
        if not layers:
            return
        places = {
            path: layer for path in context.network.units[index].layers if (layer := self._at(index, path))
        }
        with quantization(low, activations=self._pass.activations):
            before, begun = self._predictions.difference_with(index, quantized), _Kept(layers)
            targets = self._targets(index, places, full)
            for corrected in (True, False):
                for path, layer in places.items():
                    moments = self._moments(index, layer, targets[path], quantized)
                    _settle(moments, self._task, corrected=corrected)
                if self._predictions.difference_with(index, quantized) < before:
                    break
                begun.restore()
        agree([low], context.shard.ranks)
        context.shard.ranks.agree([layer.target for layer in layers if layer.target is not None])

    def improve(
        self,
        members: range,
        learned: GroupCache,
        targets: Sequence[Store],
        stages: Sequence[Callable[[], None]],
    ) -> None:
        """Solve the units of a group, learn more of them, and keep what brings the prediction nearest.

        Args:
            members: Its units.
            learned: What enters the group.
            targets: Full-precision output of each unit.
            stages: Change the units, one after the other, each from where the one before has left them:
                what a stage spoils a later one may more than make up for.
        """
        full = dict(zip(members, (learned.full, *targets), strict=False))
        units = self._context.quantized(members)
        nearest = self._through(
            members, learned, lambda i, entering: self.solve(i, entering, full[i]), measured=bool(stages)
        )
        kept = remembered(units, self._pass) if stages else None
        try:
            for stage in stages:
                stage()
                difference = self._through(members, learned, measured=True)
                if difference < nearest:
                    nearest, kept = difference, remembered(units, self._pass)
            if kept is not None:
                restore(units, kept)
        finally:
            for layer in layers_of(nn.Sequential(*units)):
                layer.target = None  # from here on nothing is learned from it

    def _through(
        self,
        members: range,
        learned: GroupCache,
        visit: Callable[[int, Store], None] | None = None,
        *,
        measured: bool,
    ) -> float:
        """Go through the units of a group; gives how far the prediction is off then, where it is measured."""
        quantized, difference = learned.quantized, 0.0
        for i in members:
            if visit is not None:
                visit(i, quantized)
            if i == members[-1]:
                difference = self._predictions.difference_with(i, quantized) if measured else 0.0
                out = quantized
            else:
                out = self._context.advance_quantized(i, quantized, self._pass)
            if quantized is not learned.quantized:
                quantized.free()
            quantized = out
        return difference

    def _at(self, index: int, path: str) -> QuantizedLayer | None:
        layer = self._context.network.low[index].get_submodule(path)
        return layer if isinstance(layer, QuantizedLayer) else None

    def _targets(
        self, index: int, places: Mapping[str, QuantizedLayer], full: Store
    ) -> dict[str, list[Tensor]]:
        """Run a full-precision unit, and keep what leaves its layers where it counts, batch by batch."""
        unit = self._context.network.full[index]
        left: dict[str, list[Tensor]] = {path: [] for path in places}

        def watch_output(path: str, layer: QuantizedLayer) -> RemovableHandle:
            at = Arrangement.of(layer)

            def leaves(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
                left[path].append(at.positions(out, at.skip(inputs[0])).contiguous())

            return unit.get_submodule(path).register_forward_hook(leaves)

        hooks = [watch_output(path, layer) for path, layer in places.items()]
        try:
            for own in self._learned():
                unit(full.take(own))
        finally:
            for hook in hooks:
                hook.remove()
        return left

    def _moments(
        self, index: int, layer: QuantizedLayer, targets: Sequence[Tensor], quantized: Store
    ) -> Moments:
        """Collect the moments of a layer's quantized inputs, and those with its full-precision output."""
        context = self._context
        unit, moments = context.network.low[index], Moments(layer)
        entered: list[Tensor] = []
        hook = watch(layer, entered.append)
        try:
            for own, target in zip(self._learned(), targets, strict=True):
                unit(quantized.take(own))
                moments.add(entered.pop(), target)
        finally:
            hook.remove()
        context.shard.ranks.add(moments.tensors)
        return moments

    def _learned(self) -> Iterator[Tensor]:
        """Numbers of the own images that moments are taken from, batch by batch."""
        context = self._context
        learned = context.learned_from
        learned = torch.arange(context.shard.images) if learned is None else learned
        chosen = learned[evenly(len(learned), self._task.images)]
        own = torch.isin(context.shard.owned, chosen).nonzero().flatten()
        if len(own):
            yield from torch.split(own, context.settings.eval_batch)


class _Kept:
    """The state of layers, bit by bit; also whether each has a bias of its own."""

    def __init__(self, layers: Sequence[QuantizedLayer]) -> None:
        self._layers = [(layer, layer.layer, layer.owns_bias) for layer in layers]
        self._values = [[value.clone() for value in _values(layer)] for layer in layers]

    def restore(self) -> None:
        """Put the layers back into this state."""
        for (layer, inside, owns), values in zip(self._layers, self._values, strict=True):
            layer.layer, layer.owns_bias, layer.target = inside, owns, None
            for value, kept in zip(_values(layer), values, strict=True):
                value.copy_(kept)
            layer.refresh()


def _values(layer: QuantizedLayer) -> list[Tensor]:
    values = [layer.integers, layer.scale, layer.zero_point]
    bias = layer.own_bias() if layer.owns_bias else None
    return values if bias is None else [*values, bias]


def _settle(moments: Moments, task: Solve, *, corrected: bool) -> None:
    """Give a layer grid and integers, and correct gain and mean of its output."""
    at = moments.arrangement
    centred = corrected and isinstance(at.layer.layer.bias, Tensor)
    weights = at.rows(at.layer.reference.detach())
    if task.compensation and at.parts == 1:
        weights = weights + task.compensation * _missing(moments, weights, centred=centred)
    rows = moments.problem(weights, centred=centred)
    found = solve(rows, search(rows, symmetric=at.layer.symmetric), sweeps=task.sweeps)
    moments.take(found)
    at.layer.target = at.weight(weights).to(at.layer.reference.dtype)
    if corrected:
        _correct(moments)


def _missing(moments: Moments, weights: Tensor, *, centred: bool) -> Tensor:
    """What least squares adds to the weights, to meet the full-precision output from quantized inputs."""
    rows = moments.problem(weights, centred=centred)
    bias = moments.arrangement.layer.layer.bias
    cross = moments.cross(centred=centred)
    if not centred and isinstance(bias, Tensor):
        share = bias.detach().view(moments.arrangement.groups, 1, -1)
        cross = cross - moments.mean().unsqueeze(2) * share
    missing = cross - moments.matrix(centred=centred) @ weights.transpose(1, 2)
    added: Tensor = torch.linalg.solve(rows.moments, missing)
    return added.transpose(1, 2)


def _correct(moments: Moments) -> None:
    """Fold gain and mean of each channel into its scale and bias."""
    at = moments.arrangement
    layer = at.layer
    hard = at.rows(layer.hard).double()
    mean, variance = moments.target()
    own_mean = (hard * moments.mean().double().unsqueeze(1)).sum(2)
    own_mean = torch.unflatten(own_mean, 0, (at.groups, at.parts)).sum(1)
    gain = torch.ones_like(mean)
    if at.parts == 1 and layer.scale.numel() == mean.numel():
        spread = (torch.bmm(hard, moments.matrix(centred=True).double()) * hard).sum(2).clamp(min=0)
        shared = (hard * moments.cross(centred=True).double().transpose(1, 2)).sum(2)
        ratio = (variance / spread).sqrt()
        sure = shared / (variance * spread).sqrt() >= SURE
        gain = torch.where(sure, shared / spread, ratio)
        low, high = torch.tensor([-LARGEST_GAIN, LARGEST_GAIN]).exp().tolist()
        gain = torch.where(gain.isfinite() & (gain > 0), gain, torch.ones_like(gain)).clamp(low, high)
        layer.scale.mul_(gain.to(layer.scale.dtype).view(layer.scale.shape))
        assert layer.target is not None
        layer.target = at.weight(at.rows(layer.target) * gain.to(layer.scale.dtype).unsqueeze(2))
        layer.refresh()
    bias = layer.own_bias()
    if bias is not None:
        bias.copy_((mean - gain * own_mean).to(bias.dtype).flatten())
