"""Walk over the network group by group: fit, harden, advance the cache, measure."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import nn

from mrecg.cache import Cache, Grid, Store
from mrecg.config.schema import Precision, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan, group_name
from mrecg.quant.modules import activations_of, quantization
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct import correction
from mrecg.reconstruct.cache import GroupCache, advance, deviation
from mrecg.reconstruct.fisher import fisher_weights
from mrecg.reconstruct.fit import fit_in_chunks, learning
from mrecg.reconstruct.floor import loss_floor
from mrecg.reconstruct.methods import Pass
from mrecg.reconstruct.records import Ahead, CurvePoint, GroupResult, Listener, UnitResult
from mrecg.reconstruct.steps import Steps, ranges_of
from mrecg.reconstruct.unit_module import GroupReconstruction


class Trials(Protocol):
    """What is tried on the way; see `mrecg.reconstruct.trials`."""

    def held_out(self, images: int) -> int:
        """How many of the calibration images are for measuring."""

    def groups(self, walk: "Walk") -> Sequence[range]:
        """Units of each group that is tried, in the order of the trials."""

    def before(self, walk: "Walk", index: int, task: Pass, learned: GroupCache) -> None:
        """A unit is about to be optimised, from what it will learn from."""

    def after(self, walk: "Walk", index: int, quantized: Store) -> None:
        """A unit is hardened; what leaves it."""


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
        images: Calibration images.
        held_out: The last so many of them are for measuring: no group learns from them.
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
    held_out: int = 0

    def __post_init__(self) -> None:
        self.members_of = ranges_of(self.plan)
        self.counted = Steps(self.network, self.trainer, self.images.images)

    def outline(self, task: Pass, trials: Trials | None = None) -> list[Ahead]:
        """Say what a pass will do, in order."""
        return list(self.counted.ahead(task, self.members_of, trials.groups(self) if trials else ()))

    def run(
        self, task: Pass, *, report_units: bool, trials: Trials | None = None
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
        images = full = quantized = self.images
        units: list[UnitResult] = []
        groups: list[GroupResult] = []
        for number, names in enumerate(self.plan.groups):
            begin, members = time.perf_counter(), self.members_of[number]
            steps = self.counted.optimisation(task, members)
            targets: list[Store] = []
            for i in members:
                targets.append(self.advance(self.network.full[i], targets[-1] if targets else full))
            curve: list[CurvePoint] = []
            floor: float | None = None
            learned = GroupCache(quantized, full, targets[-1], logits=logits)
            if trials is not None:
                trials.before(self, members.start, task, learned)
            if steps:
                curve, floor = self.optimise(members, task, learned, steps)
            if full is not images:
                full.free()
            for i, name, target in zip(members, names, targets, strict=True):
                entered, quantized = quantized, self.advance_low(i, quantized, task)
                if entered is not images:
                    entered.free()
                error, loss = deviation(quantized, target, batch=self.eval_batch)
                if target is not targets[-1]:
                    target.free()
                units.append(UnitResult(name=name, group=number, error=error, loss=loss))
                if report_units:
                    self.listener.unit(i, units[-1])
                if trials is not None:
                    trials.after(self, i, quantized)
            full = targets[-1]
            groups.append(
                GroupResult(
                    name=group_name(names),
                    task=task.name,
                    steps=steps,
                    seconds=time.perf_counter() - begin,
                    curve=tuple(curve),
                    floor=floor,
                )
            )
            self.listener.finished(groups[-1])
        for store in (full, quantized, logits):
            if store is not None:
                store.free()
        return tuple(units), groups

    def advance(self, unit: nn.Module, values: Store, grid: Grid | None = None) -> Store:
        """Run a unit over all images; see `mrecg.reconstruct.cache.advance`."""
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

    def optimise(
        self, members: range, task: Pass, learned: GroupCache, steps: int
    ) -> tuple[list[CurvePoint], float]:
        """Prepare what a group learns from, as the pass wants it, and fit and harden the group.

        Args:
            members: Its units.
            task: The pass.
            learned: Inputs and targets as they are.
            steps: Optimisation steps.

        Returns:
            The logged points, and the floor of their loss.
        """
        made: list[Store] = []
        uncorrected = learned.target
        if task.correction is not None and self.counted.corrections(task, members):
            corrected = correction.correct(
                [self.network.unfolded(i) for i in members],
                learned.full,
                task.correction,
                steps=self.counted.correction(task),
                cache=self.cache,
                report=lambda done: self.listener.curve(self._name(members), task.name, (), done),
            )
            made.append(corrected)
            for i in members:
                made.append(self.advance(self.network.full[i], made[-1]))
            learned = replace(learned, full=corrected, target=made[-1])
        if task.loss == "fisher_diag":
            units = self.network.low[members.start : members.stop]
            with quantization(nn.Sequential(*units), activations=task.activations):
                weight = fisher_weights(
                    units,
                    self.network.full[members.stop :],
                    entering=learned.quantized,
                    target=uncorrected,
                    cache=self.cache,
                )
            made.append(weight)
            learned = replace(learned, weight=weight)
        units = self.network.full[members.start : members.stop]
        floor = loss_floor(units, learned, batch=self.eval_batch, seen=steps * self.trainer.batch_size)
        names = [self.network.units[i].name for i in members]
        self.listener.group(self._name(members), names, steps, floor)
        curve = self._fit(members, task, learned, steps)
        for store in made:
            store.free()
        return curve, floor

    def _name(self, members: range) -> str:
        return group_name([self.network.units[i].name for i in members])

    def _fit(self, members: range, task: Pass, cache: GroupCache, steps: int) -> list[CurvePoint]:
        name, units = self._name(members), self.network.low[members.start : members.stop]
        images = self.images.images - self.held_out
        curve: list[CurvePoint] = []

        def report(points: Sequence[CurvePoint], done: int) -> None:
            curve.extend(points)
            self.listener.curve(name, task.name, points, done)

        if self.trainer.cuda_graphs and not cache.at_hand:
            raise ConfigError(
                f"trainer.cuda_graphs: what {name} learns from has spilled from the GPU; "
                "raise cache.budget_mb or set trainer.cuda_graphs=false"
            )
        with learning(units, task.scales):
            module = GroupReconstruction(
                units,
                task=task,
                cache=cache,
                steps=steps,
                batch=min(self.trainer.batch_size, images),
                log_every=self.trainer.log_every,
                precision=self.precision,
                graphs=self.trainer.cuda_graphs,
                seed=zlib.crc32(f"{self.seed}/{task.name}/{name}".encode()),
                report=report,
                images=images,
                tail=self.network.full[members.stop :] if task.prediction else (),
            )
            fit_in_chunks(module, steps, self.trainer.chunk, cache.quantized.device)
            module.harden()
        return curve

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
