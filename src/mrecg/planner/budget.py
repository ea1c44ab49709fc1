"""The partition with the smallest predicted error within a budget of time and memory.

A trial says what merging a pair takes off the difference of the network's predictions when all after the
pair is in full precision. Reconstruction heals part of what reaches a unit, so less of it is left at the end:
a unit is taken to pass on the fraction by which the block-wise difference falls at it, and all of it where
that rises. What several merges take off multiplies. Both are assumptions. Times are counted, not measured:
they compare plans and do not forecast seconds.
"""

import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import TrainerConfig
from mrecg.errors import PlanError
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner.probe import Probe
from mrecg.planner.schedule import Criterion, chain

MEMORY_FACTOR = 20
"""Multiply-accumulates in the time that one element of an activation takes. A rough balance of machines: at
1e12 of them and 2e11 bytes of memory traffic a second, 20 go by while a float32 is moved once."""
MOST_STATES = 4096
"""Partitions of the first units that are kept, at most; below it the dynamic programme is exact."""
LARGEST_GAIN = 0.95
"""Fraction of the error that one merge is believed to take off, at most."""
MB = 2**20
ELEMENT = 4
"""Bytes of a float32."""


def step_cost(unit: UnitFacts) -> int:
    """Count the time of an optimisation step of a unit, in multiply-accumulates per image.

    Args:
        unit: The unit's facts, with its work.

    Returns:
        Multiply-accumulates plus activations times `MEMORY_FACTOR`.
    """
    return unit.macs + MEMORY_FACTOR * unit.activations


TITLE = "Difference that a block-wise prefix leaves in the network's predictions"
SHORT = "difference of predictions"


def trial_gains(probe: Probe) -> Criterion | None:
    """Compare each trial of a merge with the block-wise run.

    Args:
        probe: Numbers of a plain run.

    Returns:
        The criterion: the error that each unit leaves at the network's output, and the fraction of the last
        one that merging the unit with the next is predicted to take off, at most 1, negative where it adds
        to it; 0 for a pair that was not tried (or diverged), as JSON has no word for that. None where nothing
        was tried.
    """
    if probe.reach is None or probe.pairs is None:
        return None
    reach, passed, gains = probe.reach, 1.0, list[float]()
    tiny = sys.float_info.min
    for i in reversed(range(len(probe.pairs))):  # passed: from after unit i + 1 to the end
        gain = passed * (reach[i + 1] - probe.pairs[i]) / max(reach[-1], tiny)
        gains.append(gain if math.isfinite(gain) else 0.0)
        passed *= min(1.0, reach[i + 1] / max(reach[i], tiny))
    return Criterion(
        name="budget",
        difference="gain",
        capacities=reach,
        differences=tuple(reversed(gains)),
        title=TITLE,
        short=SHORT,
    )


def plan_within_budget(
    units: Sequence[UnitFacts],
    gains: Criterion,
    planner: PlannerConfig,
    trainer: TrainerConfig,
    *,
    allowed: Collection[int],
) -> tuple[list[int], str]:
    """Choose the pairs to merge.

    Args:
        units: Facts of all units in order, with their work.
        gains: As `trial_gains` gives them.
        planner: Budgets, the smallest gain that counts and the longest group.
        trainer: Whether a group of m units gets m times the steps, or as many as one unit; images a step.
        allowed: Indices of the pairs that may be merged at all.

    Returns:
        Indices of the pairs, ascending, and what a reader should know.

    Raises:
        PlanError: The units' work is not known, or a unit alone is over the memory budget.
    """
    if not all(unit.macs and unit.activations for unit in units):
        raise PlanError(
            "planner=budget counts the work of each unit, for which the size of an image has to be known: "
            "set model.input_shape"
        )
    costs = [step_cost(unit) for unit in units]
    room = _room(units, planner, trainer.batch_size)
    real = [
        -math.log1p(-min(gain, LARGEST_GAIN)) if i in allowed and gain >= planner.min_gain else 0.0
        for i, gain in enumerate(gains.differences)
    ]
    pairs = best_pairs(
        real,
        costs,
        [unit.activations for unit in units],
        time_limit=planner.time_budget * sum(costs),
        room=room,
        max_group_size=planner.max_group_size,
        repeat=trainer.steps_per == "unit",
    )
    before = gains.capacities[-1]
    if not pairs:
        found = sum(gain > 0 for gain in real)
        why = (
            f"{found} pairs would gain, and none fits planner.time_budget={planner.time_budget:g}"
            f" and planner.memory_budget_mb={planner.memory_budget_mb}"
            if found
            else f"no pair gains planner.min_gain={planner.min_gain:g} of it"
        )
        return [], f"Predicted final error {before:.3g}. Nothing is merged: {why}."
    time = sum(
        (len(group) if trainer.steps_per == "unit" else 1) * sum(costs[i] for i in group)
        for group in chain(len(units), pairs)
    )
    after = before * math.exp(-sum(real[pair] for pair in pairs))
    return pairs, (
        f"Predicted final error {before:.3g} -> {after:.3g} at {time / sum(costs):.2f}x the step time of "
        f"blocks alone (budget {planner.time_budget:g}x)."
    )


def _room(units: Sequence[UnitFacts], planner: PlannerConfig, batch_size: int) -> float:
    """Elements per image that a group may keep."""
    if planner.memory_budget_mb is None:
        return math.inf
    room = planner.memory_budget_mb * MB / (ELEMENT * batch_size)
    for unit in units:
        if unit.activations > room:
            need = math.ceil(unit.activations * ELEMENT * batch_size / MB)
            raise PlanError(
                f"planner.memory_budget_mb: {planner.memory_budget_mb} is too little for {unit.name} alone, "
                f"which keeps {need} MB of activations at trainer.batch_size={batch_size}"
            )
    return room


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """A partition of the first units; its last group has ``members`` units and follows ``before``."""

    time: float = 0
    gain: float = 0.0
    merges: int = 0
    members: int = 0
    before: "_State | None" = None


def best_pairs(
    gains: Sequence[float],
    costs: Sequence[float],
    sizes: Sequence[float],
    *,
    time_limit: float = math.inf,
    room: float = math.inf,
    max_group_size: int,
    repeat: bool = True,
) -> list[int]:
    """Choose the contiguous partition with the largest gain.

    Dynamic programming over the number of units and the time they take: of all partitions of the first units
    those are kept that no other beats in time and gain both. It is exact unless more than `MOST_STATES` are
    left, as happens with dozens of units whose gains go with their costs.

    Args:
        gains: One number a pair; a pair of 0 or less is never merged. Those inside a group add up.
        costs: Time of a step of each unit.
        sizes: Activations of each unit; those of a group's members add up, which counts a tensor between two
            of them twice, once as an output and once as an input.
        time_limit: Of the whole partition, in the unit of ``costs``.
        room: Of the largest group of several units, in the unit of ``sizes``.
        max_group_size: Units in one group, at most.
        repeat: Whether a group of m units takes m times the steps of one.

    Returns:
        Indices of the merged pairs, ascending. Of equal gains the fewest merges, then the shortest time.
    """
    count = len(costs)
    rest = [sum(costs[i:]) for i in range(count + 1)]  # what units still to come take at least
    fronts = [[_State()]]
    for end in range(1, count + 1):
        found: list[_State] = []
        cost = size = gain = 0.0
        for members in range(1, min(max_group_size, end) + 1):
            begin = end - members
            cost, size = cost + costs[begin], size + sizes[begin]
            if members > 1:
                if not gains[begin] > 0 or size > room:
                    break  # a longer group has this pair in it too
                gain += gains[begin]
            time = cost * (members if repeat else 1)
            found += [
                _State(
                    time=state.time + time,
                    gain=state.gain + gain,
                    merges=state.merges + members - 1,
                    members=members,
                    before=state,
                )
                for state in fronts[begin]
                # A partition into single units fits always, however the sums were rounded.
                if state.time + time + rest[end] <= time_limit or state.merges + members == 1
            ]
        fronts.append(_front(found))
    best: _State | None = max(fronts[-1], key=lambda state: (state.gain, -state.merges, -state.time))
    pairs: list[int] = []
    end = count
    while best is not None and best.members:
        pairs += range(end - best.members, end - 1)
        end, best = end - best.members, best.before
    return sorted(pairs)


def _front(states: Sequence[_State]) -> list[_State]:
    """Drop every state that another one beats: no more time, and more gain or as much with fewer merges."""
    kept: list[_State] = []
    for state in sorted(states, key=lambda state: (state.time, -state.gain, state.merges)):
        if not kept or (state.gain, -state.merges) > (kept[-1].gain, -kept[-1].merges):
            kept.append(state)
    if len(kept) <= MOST_STATES:
        return kept
    width = (kept[-1].time - kept[0].time) / MOST_STATES
    cells = {int((state.time - kept[0].time) / width): state for state in kept}  # the last one gains most
    return [*cells.values()] if kept[0] in cells.values() else [kept[0], *cells.values()]
