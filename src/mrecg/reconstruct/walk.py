"""Walk over the network group by group: fit, harden, advance the cache, measure."""

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn

from mrecg.errors import ConfigError, DivergenceError
from mrecg.methods.passes import Pass
from mrecg.planner.schedule import Plan, group_name
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.closed_form import Solver
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.events import Ahead, GroupResult, UnitResult
from mrecg.reconstruct.group_state import GroupRecord, restore, state_of
from mrecg.reconstruct.merge_trials import Trials
from mrecg.reconstruct.optimise import learn
from mrecg.reconstruct.rolling_cache import GroupCache, deviation
from mrecg.reconstruct.step_counts import ranges_of


class Prefix(NamedTuple):
    """What the units up to somewhere give, and the network's full-precision predictions where they count."""

    quantized: Store
    full: Store
    logits: Store | None


class Done(NamedTuple):
    """A group that is through a pass."""

    members: range
    record: GroupRecord


class Judge(Protocol):
    """Makes a group in two ways, one by one and merged, and keeps the better one."""

    def __call__(
        self, walk: "Walk", members: range, pass_: Pass, prefix: Prefix
    ) -> tuple[list[Done], Prefix, Verdict]:
        """Give the groups that were kept, what leaves them, and why."""


class Walk:
    """Runs the passes of a method over one network.

    Args:
        context: What it works with.
        plan: The network's groups.

    Attributes:
        verdicts: On each merge that was judged, in order.
    """

    def __init__(self, context: Context, plan: Plan) -> None:
        self.context, self.plan = context, plan
        self.members_of = ranges_of(plan)
        self.verdicts: list[Verdict] = []
        self._held: tuple[Store, ...] = ()
        self._solver: Solver | None = None

    def outline(self, pass_: Pass, trials: Trials | None = None, *, judged: bool = False) -> list[Ahead]:
        """Say what a pass will do, in order."""
        tried = trials.groups(self.context) if trials else ()
        return list(self.context.counted.ahead(pass_, self.members_of, tried, judged=judged))

    def run(
        self, pass_: Pass, *, report_units: bool, trials: Trials | None = None, judge: Judge | None = None
    ) -> tuple[tuple[UnitResult, ...], list[GroupResult]]:
        """Walk over all groups once.

        Args:
            report_units: Whether the listener is told of the units' errors: in the last pass.
            trials: Merges to be tried on the way; the plan has one unit a group then.
            judge: Decides on each merge of the plan; None: all are made.

        Returns:
            Every base unit's error and loss, and every group's curve.

        Raises:
            ConfigError: The method compares predictions, and the network's output is none.
        """
        context = self.context
        context.listener.begin(
            [group_name(group) for group in self.plan.groups],
            sum(ahead.steps for ahead in self.outline(pass_, trials, judged=judge is not None)),
        )
        prefix = Prefix(context.images, context.images, self._logits(pass_))
        self._solver = Solver(context, pass_) if pass_.solve else None
        units: list[UnitResult] = []
        groups: list[GroupResult] = []
        for planned in self.members_of:
            if judge is not None and context.counted.can_be_judged(pass_, planned):
                found, prefix, verdict = judge(self, planned, pass_, prefix)
                self.verdicts.append(verdict)
                context.listener.judged(verdict)
            else:
                done, prefix = self.through(planned, pass_, prefix, trials)
                found = [done]
            for members, record in found:
                for i, (error, loss) in zip(members, record.measured, strict=True):
                    name = context.network.units[i].name
                    units.append(UnitResult(name=name, group=len(groups), error=error, loss=loss))
                    if report_units:
                        context.listener.unit(i, units[-1])
                steps = context.counted.optimisation(pass_, members)
                groups.append(record.result(context.name(members), pass_.name, steps))
                context.listener.finished(groups[-1])
        for left in prefix:
            if left is not None:
                left.free()
        return tuple(units), groups

    def through(
        self,
        members: range,
        pass_: Pass,
        prefix: Prefix,
        trials: Trials | None = None,
        *,
        keep: bool = True,
    ) -> tuple[Done, Prefix]:
        """Bring a group through a pass: optimised, or restored from its record.

        Args:
            prefix: What enters it; freed unless it is held.
            trials: Is told of each unit.
            keep: Whether its record is kept.

        Returns:
            The group, and what leaves it.
        """
        context = self.context
        record = self.known(pass_, members)
        targets: list[Store] = []
        for i in members:
            targets.append(context.advance(context.network.full[i], targets[-1] if targets else prefix.full))
        if record is None:
            learned = GroupCache(prefix.quantized, prefix.full, targets[-1], logits=prefix.logits)
            try:
                record, quantized = self._work(members, pass_, learned, targets, trials)
            except DivergenceError:  # a merge that is only tried may fail
                for target in targets:
                    target.free()
                raise
        else:
            quantized = self._again(members, pass_, prefix, targets, record)
            if trials is not None:
                trials.recall(record.noted)
        if keep and context.finished is not None:
            context.finished.keep(record)
        return Done(members, record), Prefix(quantized, targets[-1], prefix.logits)

    def hold(self, prefix: Prefix | None) -> None:
        """Keep what enters a group while it is tried in several ways.

        Args:
            prefix: It; None: what was held is freed with the group that it enters next, or by `drop`.
        """
        self._held = () if prefix is None else (prefix.quantized, prefix.full)

    def drop(self, prefix: Prefix) -> None:
        """Free what enters a group that does not follow."""
        for store in (prefix.quantized, prefix.full):
            self._free(store)

    def _work(
        self,
        members: range,
        pass_: Pass,
        learned: GroupCache,
        targets: Sequence[Store],
        trials: Trials | None,
    ) -> tuple[GroupRecord, Store]:
        """Optimise a group and measure its units; also give what leaves it."""
        context = self.context
        begin = time.perf_counter()
        if trials is not None:
            trials.before(context, members.start, pass_, learned)
        curve, floor, retries = learn(context, members, pass_, learned, targets=targets, solver=self._solver)
        quantized, measured = learned.quantized, []
        for i, full, target in zip(members, (learned.full, *targets), targets, strict=False):
            self._free(full)
            quantized = self._after(i, quantized, pass_)
            measured.append(
                deviation(quantized, target, batch=context.settings.eval_batch, ranks=context.shard.ranks)
            )
            if trials is not None:
                trials.after(context, i, quantized)
        record = GroupRecord(
            state=state_of(context.quantized(members)),
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
        pass_: Pass,
        prefix: Prefix,
        targets: Sequence[Store],
        record: GroupRecord,
    ) -> Store:
        """Advance past a group that was restored from its record; gives what leaves it."""
        context = self.context
        quantized = prefix.quantized
        if steps := context.counted.optimisation(pass_, members):
            name, names = context.name(members), context.names(members)
            if corrections := context.counted.corrections(pass_, members):
                context.listener.curve(name, pass_.name, (), corrections)
            context.listener.group(name, names, steps, 0.0 if record.floor is None else record.floor)
            context.listener.curve(name, pass_.name, record.curve, steps)
        for store in (prefix.full, *targets[:-1]):
            self._free(store)
        for i in members:
            quantized = self._after(i, quantized, pass_)
        return quantized

    def _after(self, index: int, quantized: Store, pass_: Pass) -> Store:
        """Advance past a quantized unit, and free what entered it."""
        out = self.context.advance_quantized(index, quantized, pass_)
        self._free(quantized)
        return out

    def _free(self, store: Store) -> None:
        if not any(store is kept for kept in (self.context.images, *self._held)):
            store.free()

    def known(self, pass_: Pass, members: range) -> GroupRecord | None:
        """Announce a group, find its record, and restore its units from it.

        Returns:
            The record; None where there is none.
        """
        context = self.context
        record = None
        if context.finished is not None:
            steps = context.counted.optimisation(pass_, members)
            context.finished.announce(pass_, context.names(members), steps)
            record = context.finished.recall()
        record = context.shard.ranks.agreed(record)
        if record is None or len(record.measured) != len(members):
            return None
        try:
            restore(context.quantized(members), record.state)
        except ValueError:
            return None  # not ours, whatever it is: the group is optimised
        return record

    @torch.no_grad()
    def _logits(self, pass_: Pass) -> Store | None:
        """The full-precision predictions, where the pass compares with them."""
        context = self.context
        if pass_.prediction is None and pass_.loss == "mse":
            return None
        network = nn.Sequential(*context.network.full)
        shape = tuple(network(next(context.images.batches(1))).shape)
        if len(shape) != 2:
            what = "method=pd_quant" if pass_.prediction else "method.loss=fisher_diag"
            raise ConfigError(
                f"{what} compares class probabilities; for one image the network's output has shape {shape}"
            )
        return context.advance(network, context.images) if pass_.prediction else None
