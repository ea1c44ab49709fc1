"""Why a plan merges what it merges, in words."""

from itertools import pairwise

from mrecg.config.merging import PlannerConfig
from mrecg.planner.criteria import described
from mrecg.planner.plan import allowed_pairs
from mrecg.planner.schedule import Criterion, Merge, Plan, group_name
from mrecg.planner.verdict import Verdict
from mrecg.report.tables import compact
from mrecg.runs.text import MEASURES

DIFFERENCES = {
    "squared": "squared difference (a − b)²",
    "log_ratio": "log ratio |ln(a / b)|",
    "fall": "squared fall (a − b)², 0 where it rises",
    "rise": "rise b − a, 0 where it falls",
    "gain": "fraction of the last that merging the pair takes off, by a trial",
    "rank": "rank of the pair, by the loss where the two are not comparable",
}


def verdict_line(verdict: Verdict) -> str:
    """Say in one line what held-out images said of a planned merge, and what became of it."""
    alone, merged = ("not finite" if v is None else f"{v:.4g}" for v in (verdict.alone, verdict.merged))
    images = "1 held-out image" if verdict.images == 1 else f"{verdict.images} held-out images"
    measure = MEASURES.get(verdict.measure, verdict.measure)
    outcome = "kept" if verdict.kept else "undone"
    name = group_name(verdict.group)
    about = "" if verdict.standard_error is None else f" (difference ± {verdict.standard_error:.2g})"
    return f"merge {name} {outcome}: {measure} {alone} one by one, {merged} merged{about}, on {images}"


def criterion_title(criterion: Criterion) -> str:
    """Name a criterion in full.

    Args:
        criterion: One of a plan's criteria.

    Returns:
        What it measures and how neighbours compare.
    """
    return f"{described(criterion).title}: {DIFFERENCES.get(criterion.difference, criterion.difference)}"


def reason(plan: Plan, merge: Merge) -> str:
    """Say why a pair is merged.

    Returns:
        A phrase: what differs between the two, its place among all pairs, and in which property they are not
        comparable.
    """
    words = [_why(plan, merge)]
    if merge.not_comparable:
        words.append(f"the two differ in {merge.not_comparable}")
    return "; ".join(words)


def passed_over(plan: Plan, planner: PlannerConfig) -> list[tuple[Merge, str]]:
    """Find the pairs that differ more than some merged one and are not merged.

    Args:
        plan: Not carried out yet.
        planner: What it was made by.

    Returns:
        Each pair with what forbids its merge, those that differ most first; none where a schedule was given,
        or where differences alone do not decide.
    """
    merged = {merge.left: merge.difference for merge in plan.merges}
    chosen = [difference for difference in merged.values() if difference is not None]
    if not chosen or not plan.facts or planner.name in ("budget", "pack"):
        return []
    decider, allowed = plan.criteria[0], allowed_pairs(plan.facts, planner)
    found = []
    for i, (left, right) in enumerate(pairwise(plan.units)):
        if left in merged or not decider.differences[i] > min(chosen):
            continue
        why = f"a group has at most planner.max_group_size={planner.max_group_size} units"
        if i not in allowed and i in (0, len(plan.units) - 2) and not planner.merge_boundary:
            why = "the first and the last unit stay alone (planner.merge_boundary=false)"
        elif i not in allowed:
            why = "pairs that differ in kind stay apart (planner.not_comparable=exclude)"
        pair = Merge(
            left=left,
            right=right,
            left_capacity=decider.capacities[i],
            right_capacity=decider.capacities[i + 1],
            difference=decider.differences[i],
            not_comparable=plan.not_comparable[i],
        )
        found.append((pair, why))
    return sorted(found, key=lambda one: -(one[0].difference or 0.0))


def _why(plan: Plan, merge: Merge) -> str:
    if merge.difference is None or merge.left_capacity is None or merge.right_capacity is None:
        return f"given by the {plan.planner or plan.granularity} schedule"
    decider = plan.criteria[0]
    place = f"rank {_rank(decider, merge.difference)} of {len(decider.differences)} pairs"
    if decider.difference == "gain":
        share = f"{abs(merge.difference):.0%}".replace("%", " %")
        effect = f"takes {share} off" if merge.difference > 0 else f"adds {share} to"
        return f"in its trial merging {effect} the final difference ({place})"
    left, right = compact(merge.left_capacity), compact(merge.right_capacity)
    what = described(decider).short
    if decider.name == "pack":
        return f"{what} is {left}, then {right}; the pack continues"
    direction = "rises" if merge.right_capacity > merge.left_capacity else "falls"
    return f"{what} {direction} from {left} to {right} ({place})"


def _rank(decider: Criterion, difference: float) -> int:
    return 1 + sum(other > difference for other in decider.differences)
