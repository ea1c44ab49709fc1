"""How many optimisation steps lie ahead of a walk over the network, group by group."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from mrecg.config.schema import TrainerConfig
from mrecg.methods.passes import Pass
from mrecg.planner.budget import step_cost
from mrecg.planner.schedule import Plan, group_name
from mrecg.quant.modules import activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import correction
from mrecg.reconstruct.events import Ahead


def group_steps(members: int, trainer: TrainerConfig, share: float = 1.0) -> int:
    """Optimisation steps of a group.

    Args:
        members: Units in the group.
        trainer: Steps a unit, and whether a merged group gets them once or once a member.
        share: The pass's fraction of the steps.

    Returns:
        At least 1.
    """
    return max(1, round(share * trainer.steps * (members if trainer.steps_per == "unit" else 1)))


def settling_steps(members: int, trainer: TrainerConfig, task: Pass) -> int:
    """Steps of a group with weights in which its rounding is fixed already.

    Args:
        members: Units in the group.
        trainer: As for `group_steps`.
        task: The pass.
    """
    settle = 0.0 if task.rounding is None else task.rounding.settle
    return group_steps(members, trainer, task.steps * settle) if settle else 0


def ranges_of(plan: Plan) -> list[range]:
    """Indices of the units of each group."""
    ends = [0, *accumulate(len(group) for group in plan.groups)]
    return [range(begin, end) for begin, end in pairwise(ends)]


class Steps:
    """Counts the steps of groups.

    Args:
        trainer: Steps a unit.
        images: Calibration images.
    """

    def __init__(self, network: QuantizedNetwork, trainer: TrainerConfig, images: int) -> None:
        self._network, self._trainer, self._images = network, trainer, images

    def optimisation(self, task: Pass, members: range) -> int:
        """Optimisation steps of a group, those in which its rounding is fixed included.

        Args:
            members: Its units.

        Returns:
            0 where there is nothing to learn, as in a head without activations.
        """
        low = self._network.low[members.start : members.stop]
        rounds = task.rounding is not None and any(layers_of(unit) for unit in low)
        scales = task.scales is not None and any(activations_of(unit) for unit in low)
        steps = group_steps(len(members), self._trainer, task.steps) if rounds or scales else 0
        return steps + self.settling(task, members)

    def settling(self, task: Pass, members: range) -> int:
        """Steps of a group in which its rounding is fixed already."""
        low = self._network.low[members.start : members.stop]
        there = any(layers_of(unit) for unit in low)
        return settling_steps(len(members), self._trainer, task) if there else 0

    def correction(self, task: Pass) -> int:
        """Steps that correct one batch of a group's activations, where that is possible."""
        return 0 if task.correction is None else max(1, round(task.correction.steps * self._trainer.steps))

    def corrections(self, task: Pass, members: range) -> int:
        """Steps that correct a group's activations, of all batches; 0 where no BatchNorm says where to."""
        if task.correction is None:
            return 0
        there = correction.correctable([self._network.unfolded(i) for i in members])
        return self.correction(task) * -(-self._images // correction.BATCH) if there else 0

    def ahead(
        self, task: Pass, groups: Sequence[range], tried: Sequence[range] = (), *, judged: bool = False
    ) -> Iterator[Ahead]:
        """Say what a pass will do.

        Args:
            groups: Units of each group.
            tried: Units of each trial; it comes before its first unit's group.
            judged: Whether merges are judged: their units come before them, one by one.

        Yields:
            One record a trial and group, in the order in which they come.
        """
        trials = {members.start: members for members in tried}
        for group in groups:
            if group.start in trials:
                pair = trials[group.start]
                yield self._ahead(task, pair, trial=True)
            both = judged and self.can_be_judged(task, group)
            for members in (range(i, i + 1) for i in group if both):
                yield self._ahead(task, members, trial=False)
            yield self._ahead(task, group, trial=both)

    def can_be_judged(self, task: Pass, members: range) -> bool:
        """Return whether a group may be made in two ways: it has several units, and something to learn."""
        return len(members) > 1 and self.optimisation(task, members) > 0

    def _ahead(self, task: Pass, members: range, *, trial: bool) -> Ahead:
        names = tuple(self._network.units[i].name for i in members)
        steps = self.optimisation(task, members)
        corrected = self.corrections(task, members) if steps else 0
        cost = sum(step_cost(self._network.units[i].facts) for i in members)
        return Ahead(
            name=group_name(names),
            members=names,
            task=task.name,
            steps=steps + corrected,
            cost=float(cost or len(members)),
            trial=trial,
        )
