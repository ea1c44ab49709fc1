"""How many pairs to merge: the smallest number whose predicted curve oscillates little enough.

Units that are optimised jointly hand nothing over inside their group, so a group is one point of the curve.
Which one is an assumption. Loss: the group's end, where the block-wise loss has fallen again. Error: the mean
of its units, because a merge is to lower the rise at its end. The prediction says how much of the oscillation
lies inside the groups, not what the errors of the merged run will be.
"""

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

from mrecg.config.merging import PlannerConfig
from mrecg.errors import PlanError
from mrecg.planner.probe import Probe
from mrecg.planner.schedule import chain, top_pairs
from mrecg.registry import CRITERIA

ROUNDING = 1e-9
"""Relative change of an index that is none: a merge that hides no turn of the curve leaves it as it is."""


def auto_count(differences: Sequence[float], planner: PlannerConfig, probe: Probe | None) -> tuple[int, str]:
    """Find out how many pairs to merge, where the configuration leaves it open.

    Args:
        differences: One number a pair, by which `top_pairs` chooses; 0: no candidate.
        planner: The criterion, the threshold and the longest group.
        probe: Numbers of a plain run. Its curve is the one that the criterion names: the error or the loss.

    Returns:
        How many pairs, and what a reader should know.

    Raises:
        PlanError: There is no probe.
    """
    if probe is None:
        raise PlanError("planner.merge_count=auto needs a probe run: images to calibrate on")
    name = CRITERIA.get(planner.name).curve
    curve = probe.errors if name == "error" else probe.losses
    if not planner.merge_boundary:
        # No merge can calm the jump to the logits, which are another quantity than feature maps.
        curve, differences = curve[1:-1], differences[1:-1]
    before = oscillation(curve)
    if before == 0:
        return 0, f"merge_count=auto merges nothing: the {name} of the probe does not oscillate."
    wanted = planner.oscillation_threshold * before
    count, after = calming_count(
        curve, differences, goal=wanted, max_group_size=planner.max_group_size, mean=name == "error"
    )
    reached = "wanted" if after <= wanted else "out of reach"
    return count, (
        f"merge_count=auto merges {count} pair{'s' * (count != 1)}: predicted oscillation index of the "
        f"{name} {before:.3g} -> {after:.3g}, {reached}: {wanted:.3g}."
    )


def oscillation(curve: Sequence[float]) -> float:
    """Compute the oscillation index of a curve, exactly 0 where it is monotone.

    Args:
        curve: One number a unit, in order.

    Returns:
        ``sum |c_{i+1} - c_i| - |c_n - c_1|``: twice the smaller one of all its rises and all its falls, a
        form in which rounding leaves no remainder. Not a number where one of the curve is not finite.

    >>> oscillation([1.0, 4.0, 2.0]), oscillation([0.1, 0.3, 0.7]), oscillation([])
    (4.0, 0.0, 0.0)
    """
    steps = [b - a for a, b in pairwise(curve)]
    if not all(map(math.isfinite, (*curve, *steps))):
        return math.nan
    return 2 * min(math.fsum(s for s in steps if s > 0), math.fsum(-s for s in steps if s < 0))


def left_over(curve: Sequence[float], pairs: Collection[int], *, mean: bool = False) -> list[float]:
    """Predict the curve over the groups.

    Args:
        curve: One number a unit, of a block-wise run.
        pairs: Indices of the merged pairs; pair i joins units i and i + 1.
        mean: A group stands at the mean of its units instead of at its last one's.

    Returns:
        The numbers of the groups' last units; the first unit's stays too, so that all predictions of a curve
        run between the same ends. Or one mean a group.

    >>> left_over([1.0, 5.0, 2.0, 3.0], [1])
    [1.0, 2.0, 3.0]
    >>> left_over([1.0, 5.0, 2.0, 3.0], [1], mean=True)
    [1.0, 3.5, 3.0]
    """
    if mean:
        groups = chain(len(curve), list(pairs))
        return [math.fsum(curve[i] for i in group) / len(group) for group in groups]
    return [value for i, value in enumerate(curve) if i == 0 or i not in pairs]


def calming_count(
    curve: Sequence[float],
    differences: Sequence[float],
    *,
    goal: float,
    max_group_size: int,
    mean: bool = False,
) -> tuple[int, float]:
    """Find the smallest number of merges that calms a curve.

    Args:
        curve: One number a unit, of a block-wise run.
        differences: One number a pair, by which `top_pairs` chooses; 0: no candidate.
        goal: Oscillation index to come down to.
        max_group_size: Units in one group, at most.
        mean: As in `left_over`.

    Returns:
        The smallest number of pairs whose predicted index is at most the goal, or else the smallest with the
        least predicted index; and that index. 0 pairs for a monotone curve.
    """
    most = len(top_pairs(differences, count=len(differences), max_group_size=max_group_size))
    best = (0, oscillation(curve))
    for count in range(1, most + 1):
        if best[1] <= goal:
            break
        pairs = top_pairs(differences, count=count, max_group_size=max_group_size)
        predicted = oscillation(left_over(curve, pairs, mean=mean))
        if predicted < best[1] * (1 - ROUNDING):
            best = (count, predicted)
    return best
