"""What a reconstruction does for each of its groups, and with what; the walk over the groups passes it on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from mrecg.methods.passes import Pass
from mrecg.planner.schedule import group_name
from mrecg.quant.modules import activations_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Grid, Store
from mrecg.reconstruct.events import Listener
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.rolling_cache import advance
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.step_counts import Steps


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a reconstruction works with, in one of its processes.

    Attributes:
        network: The calibrated network, changed in place.
        settings: How it is reconstructed.
        cache: Keeps activations.
        images: Calibration images, those that this process owns.
        shard: Which of all images these are.
        listener: Is told of every chunk and unit.
        finished: Keeps the records of groups, and may have some from before; rank 0's counts.
        held_out: Numbers of the images that are for measuring, ascending: no group learns from them.
    """

    network: QuantizedNetwork
    settings: Settings
    cache: Cache
    images: Store
    shard: Shard
    listener: Listener
    finished: Finished | None = None
    held_out: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @cached_property
    def counted(self) -> Steps:
        """The steps of groups."""
        return Steps(self.network, self.settings.trainer, self.images.images)

    @cached_property
    def learned_from(self) -> Tensor | None:
        """Numbers of the images that groups learn from, ascending; None: all."""
        everything = torch.arange(self.shard.images)
        return everything[~torch.isin(everything, self.held_out)] if len(self.held_out) else None

    @cached_property
    def measured_on(self) -> Tensor:
        """Places of the images for measuring among those that this process owns; all, where none are."""
        owned = self.shard.owned
        chosen = torch.isin(owned, self.held_out) if len(self.held_out) else torch.ones_like(owned)
        return chosen.nonzero().flatten()

    def quantized(self, members: range) -> Sequence[nn.Module]:
        """The quantized units of a group."""
        return self.network.low[members.start : members.stop]

    def names(self, members: range) -> list[str]:
        """Names of the units of a group."""
        return [self.network.units[i].name for i in members]

    def name(self, members: range) -> str:
        """Name of the group of some units."""
        return group_name(self.names(members))

    def advance(self, unit: nn.Module, values: Store, grid: Grid | None = None) -> Store:
        """Run a unit over all images; see `mrecg.reconstruct.rolling_cache.advance`."""
        return advance(unit, values, self.cache, batch=self.settings.eval_batch, grid=grid)

    def advance_quantized(self, index: int, values: Store, pass_: Pass) -> Store:
        """Run a quantized unit over all images.

        Args:
            index: The unit.
            values: What enters it, shape (N, ...).
            pass_: Decides whether activations are quantized.

        Returns:
            What leaves it, shape (N, ...).
        """
        unit = self.network.low[index]
        quantizers = activations_of(unit) if pass_.activations == "on" else []
        # Nearly always the last one makes the output; the cache looks whether it does.
        grid = (quantizers[-1].scale, quantizers[-1].zero_point, quantizers[-1].top) if quantizers else None
        with quantization(unit, activations=pass_.activations):
            return self.advance(unit, values, grid)
