"""Walk over the network group by group: fit, harden, advance the cache, measure."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from mrecg.config.schema import Precision, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan, group_name
from mrecg.quant.modules import activations_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import optimise
from mrecg.reconstruct.activation_cache import Cache, Grid, Store
from mrecg.reconstruct.events import Ahead, CurvePoint, GroupResult, Listener, UnitResult
from mrecg.reconstruct.group_state import Finished, GroupRecord, restore, state_of
from mrecg.reconstruct.methods import Pass
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.rolling_cache import GroupCache, advance, deviation
from mrecg.reconstruct.step_counts import Steps, ranges_of

if TYPE_CHECKING:
    from mrecg.reconstruct.merge_trials import Trials


@dataclass
class Walk:
    """Runs the passes of a method over one network.

    Attributes:
        network: The calibrated network, changed in place.
        plan: Its groups.
        trainer: Steps, batch size and chunk.
        precision: Of the convolutions while a group is optimised.
        cache: Keeps activations.
        seed: Seed of all draws.
        eval_batch: Images a forward pass when the cache advances.
        listener: Who is told of every chunk and unit.
        images: Calibration images, those that this process owns.
        held_out: The last so many of them are for measuring: no group learns from them.
        finished: Keeps the records of groups, and may have some from before; rank 0's counts.
        shard: Which of all images these are.
        retries: How often a group may begin anew whose loss has diverged.
    """

    network: QuantizedNetwork
    plan: Plan
    trainer: TrainerConfig
    precision: Precision
    cache: Cache
    seed: int
    eval_batch: int
    listener: Listener
    images: Store
    shard: Shard
    held_out: int = 0
    finished: Finished | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        self.members_of = ranges_of(self.plan)
        self.counted = Steps(self.network, self.trainer, self.images.images)

    def outline(self, task: Pass, trials: "Trials | None" = None) -> list[Ahead]:
        """Say what a pass will do, in order."""
        return list(self.counted.ahead(task, self.members_of, trials.groups(self) if trials else ()))

    def run(
        self, task: Pass, *, report_units: bool, trials: "Trials | None" = None
    ) -> tuple[tuple[UnitResult, ...], list[GroupResult]]:
        """Walk over all groups once.

        Args:
            task: The pass.
            report_units: Whether the listener is told of the units' errors: in the last pass.
            trials: Merges to be tried on the way; the plan has one unit a group then.

        Returns:
            Every base unit's error and loss, and every group's curve.

        Raises:
            ConfigError: The method compares predictions, and the network's output is none.
        """
        self.listener.begin(
            [group_name(group) for group in self.plan.groups],
            sum(ahead.steps for ahead in self.outline(task, trials)),
        )
        logits = self._logits(task)
        full = quantized = self.images
        units: list[UnitResult] = []
        groups: list[GroupResult] = []
        for number, names in enumerate(self.plan.groups):
            members = self.members_of[number]
            steps = self.counted.optimisation(task, members)
            record = self._known(task, members, names, steps)
            targets: list[Store] = []
            for i in members:
                targets.append(self.advance(self.network.full[i], targets[-1] if targets else full))
            if record is None:
                learned = GroupCache(quantized, full, targets[-1], logits=logits)
                record, quantized = self._work(members, task, learned, targets, trials)
            else:
                quantized = self._again(members, task, (quantized, full), targets, record)
                if trials is not None:
                    trials.recall(record.noted)
            full = targets[-1]
            for i, name, (error, loss) in zip(members, names, record.measured, strict=True):
                units.append(UnitResult(name=name, group=number, error=error, loss=loss))
                if report_units:
                    self.listener.unit(i, units[-1])
            if self.finished is not None:
                self.finished.keep(record)
            groups.append(record.result(group_name(names), task.name, steps))
            self.listener.finished(groups[-1])
        for left in (full, quantized, logits):
            if left is not None:
                left.free()
        return tuple(units), groups

    def _work(
        self,
        members: range,
        task: Pass,
        learned: GroupCache,
        targets: Sequence[Store],
        trials: "Trials | None",
    ) -> tuple[GroupRecord, Store]:
        """Optimise a group and measure its units; also give what leaves it."""
        begin = time.perf_counter()
        curve: Sequence[CurvePoint] = ()
        floor: float | None = None
        retries = 0
        if trials is not None:
            trials.before(self, members.start, task, learned)
        if steps := self.counted.optimisation(task, members):
            curve, floor, retries = self.optimise(members, task, learned, steps)
        self._free(learned.full)
        quantized, measured = learned.quantized, []
        for i, target in zip(members, targets, strict=True):
            quantized = self._behind(i, quantized, task)
            measured.append(deviation(quantized, target, batch=self.eval_batch, ranks=self.shard.ranks))
            if target is not learned.target:
                target.free()
            if trials is not None:
                trials.after(self, i, quantized)
        record = GroupRecord(
            state=state_of(self.network.low[members.start : members.stop]),
            measured=tuple(measured),
            seconds=time.perf_counter() - begin,
            curve=tuple(curve),
            floor=floor,
            retries=retries,
            noted=trials.noted() if trials else {},
        )
        return record, quantized

    def _again(
        self,
        members: range,
        task: Pass,
        entering: tuple[Store, Store],
        targets: Sequence[Store],
        record: GroupRecord,
    ) -> Store:
        """Go on behind a group whose units stand in the state of its record; give what leaves it."""
        quantized, full = entering
        if steps := self.counted.optimisation(task, members):
            name, names = self.name(members), [self.network.units[i].name for i in members]
            if corrections := self.counted.corrections(task, members):
                self.listener.curve(name, task.name, (), corrections)
            self.listener.group(name, names, steps, 0.0 if record.floor is None else record.floor)
            self.listener.curve(name, task.name, record.curve, steps)
        for store in (full, *targets[:-1]):
            self._free(store)
        for i in members:
            quantized = self._behind(i, quantized, task)
        return quantized

    def _behind(self, index: int, quantized: Store, task: Pass) -> Store:
        """Go on behind a quantized unit, and give up what entered it."""
        out = self.advance_low(index, quantized, task)
        self._free(quantized)
        return out

    def _free(self, store: Store) -> None:
        if store is not self.images:
            store.free()

    def _known(self, task: Pass, members: range, names: Sequence[str], steps: int) -> GroupRecord | None:
        """Find the record of a group, and put its units into the state behind it."""
        record = None
        if self.finished is not None:
            self.finished.announce(task, names, steps)
            record = self.finished.recall()
        record = self.shard.ranks.agreed(record)
        if record is None or len(record.measured) != len(members):
            return None
        try:
            restore(self.network.low[members.start : members.stop], record.state)
        except ValueError:
            return None  # not ours, whatever it is: the group is optimised
        return record

    def advance(self, unit: nn.Module, values: Store, grid: Grid | None = None) -> Store:
        """Run a unit over all images; see `mrecg.reconstruct.rolling_cache.advance`."""
        return advance(unit, values, self.cache, batch=self.eval_batch, grid=grid)

    def advance_low(self, index: int, values: Store, task: Pass) -> Store:
        """Run a quantized unit over all images.

        Args:
            index: The unit.
            values: What enters it, shape (N, ...).
            task: The pass; decides whether activations are quantized.

        Returns:
            What leaves it, shape (N, ...).
        """
        unit = self.network.low[index]
        quantizers = activations_of(unit) if task.activations == "on" else []
        # Nearly always the last one makes the output; the cache looks whether it does.
        grid = (quantizers[-1].scale, quantizers[-1].zero_point, quantizers[-1].top) if quantizers else None
        with quantization(unit, activations=task.activations):
            return self.advance(unit, values, grid)

    def optimise(self, members: range, task: Pass, learned: GroupCache, steps: int) -> optimise.Learned:
        """Optimise and harden a group; see `mrecg.reconstruct.optimise.optimise`."""
        return optimise.optimise(self, members, task, learned, steps)

    def name(self, members: range) -> str:
        """Name of the group of some units."""
        return group_name([self.network.units[i].name for i in members])

    @torch.no_grad()
    def _logits(self, task: Pass) -> Store | None:
        """The full-precision predictions, where the pass compares with them."""
        if task.prediction is None and task.loss == "mse":
            return None
        network = nn.Sequential(*self.network.full)
        shape = tuple(network(next(self.images.batches(1))).shape)
        if len(shape) != 2:
            what = "method=pd_quant" if task.prediction else "method.loss=fisher_diag"
            raise ConfigError(
                f"{what} compares class probabilities; for one image the network's output has shape {shape}"
            )
        return self.advance(network, self.images) if task.prediction else None
