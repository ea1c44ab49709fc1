"""Make the plan: rank the neighbours by every criterion there is; the configured one decides."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mrecg.config.merging import PlannerConfig, differences_of
from mrecg.config.schema import GranularityConfig, TrainerConfig
from mrecg.errors import PlanError, one_of
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner.budget import plan_within_budget, trial_gains
from mrecg.planner.capacity import comparable
from mrecg.planner.criteria import Measured, criterion
from mrecg.planner.oscillation import auto_count
from mrecg.planner.pack import Alone, pack_scores, packs
from mrecg.planner.probe import Probe, check_probe, needs_alone, needs_probe, needs_trials
from mrecg.planner.published import PUBLISHED
from mrecg.planner.schedule import Criterion, Merge, Plan, chain, named_pairs, top_pairs
from mrecg.registry import CRITERIA

__all__ = ["Alone", "Probe", "allowed_pairs", "make_plan", "needs_alone", "needs_probe", "needs_trials"]


def make_plan(
    units: Sequence[UnitFacts],
    bits: Mapping[str, int],
    *,
    granularity: GranularityConfig,
    planner: PlannerConfig,
    model: str,
    probe: Probe | Sequence[Alone] | None = None,
    trainer: TrainerConfig | None = None,
) -> Plan:
    """Decide which units are optimised jointly.

    Args:
        units: Facts of all units in order.
        bits: Weight bits by layer name.
        model: Name of the model, by which published schedules are found.
        probe: Numbers of a plain run, needed when `needs_probe`; or what quantizing each unit by itself does,
            needed when `needs_alone`.
        trainer: How steps are counted, and images a step: what a merged group costs under a budget; None: by
            the schema's defaults.

    Returns:
        The plan, with every criterion that could be computed.

    Raises:
        PlanError: A schedule names what is no unit, there is no published schedule for the model, the probe
            or its trials are missing, or no plan keeps the budget.
    """
    names, chosen_by = tuple(unit.name for unit in units), planner.name
    judged = granularity.name == "mixed" and planner.judged
    planner = planner.ranking
    alone: Sequence[Alone] = ()
    if probe is not None and not isinstance(probe, Probe):
        alone, probe = probe, None
    if probe is not None:
        check_probe(probe, len(names))
    criteria = _criteria(units, bits, planner, probe)
    if alone:
        criteria.append(pack_scores(alone))
    differing = tuple(comparable(left, right) for left, right in pairwise(units))
    if granularity.name != "mixed" or planner.name == "published":
        pairs = _given_pairs(units, granularity, planner, model)
        choice = _Choice(pairs=pairs, asked=len(pairs) if granularity.name == "mixed" else 0)
    elif planner.merge_count == 0 and planner.name not in ("budget", "pack"):
        choice = _Choice(pairs=[], asked=0)
    else:
        decider = _decider(criteria, planner)
        if planner.not_comparable == "loss":
            decider = _with_loss(decider, criteria, differing)
            criteria = [decider, *criteria]
        allowed = allowed_pairs(units, planner)
        if planner.name == "budget":
            work = trainer or TrainerConfig()
            pairs, note = plan_within_budget(units, decider, planner, work, allowed=allowed)
            choice = _Choice(pairs=pairs, asked=len(pairs), decider=decider, note=note)
        elif planner.name == "pack":
            pairs = packs(decider.capacities, allowed, max_group_size=planner.max_group_size)
            choice = _Choice(pairs=pairs, asked=len(pairs), decider=decider)
        else:
            choice = _largest(decider, allowed, planner, probe)
    return Plan(
        granularity=granularity.name,
        planner=chosen_by if granularity.name == "mixed" else "",
        merge_count=choice.asked,
        units=names,
        groups=tuple(tuple(names[i] for i in group) for group in chain(len(names), choice.pairs)),
        merges=tuple(_merge(units, pair, choice.decider) for pair in choice.pairs),
        criteria=tuple(sorted(criteria, key=lambda criterion: criterion is not choice.decider)),
        not_comparable=differing,
        note=" ".join(filter(None, [choice.note, _about(probe), _JUDGED if judged and choice.pairs else ""])),
        facts=tuple(units),
    )


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The pairs to merge, how many were asked for, the criterion that ranked them, and what to say."""

    pairs: list[int]
    asked: int
    decider: Criterion | None = None
    note: str = ""


def _given_pairs(
    units: Sequence[UnitFacts], granularity: GranularityConfig, planner: PlannerConfig, model: str
) -> list[int]:
    """The pairs that follow from the granularity or from a schedule, without a criterion."""
    names = [unit.name for unit in units]
    if granularity.name == "network":
        return list(range(len(units) - 1))
    if granularity.name == "stage":
        return [i for i, (left, right) in enumerate(pairwise(units)) if left.stage == right.stage]
    if granularity.name == "fixed":
        return named_pairs(names, granularity.groups)
    if granularity.name == "mixed":
        schedule = planner.schedule or model
        return named_pairs(names, _published(schedule), key=f"planner.schedule={schedule}")
    return []


def _criteria(
    units: Sequence[UnitFacts], bits: Mapping[str, int], planner: PlannerConfig, probe: Probe | None
) -> list[Criterion]:
    measured, own = Measured(units, bits, planner, probe), CRITERIA.others()
    # Other packages' criteria are measured only where one of them decides.
    kinds = [criterion(name) for name in CRITERIA if name not in own or name == planner.name]
    ranked = [one for kind in kinds if probe or not kind.needs_probe for one in kind.ranked(measured)]
    gains = trial_gains(probe) if probe is not None else None
    return ranked if gains is None else [*ranked, gains]


def allowed_pairs(units: Sequence[UnitFacts], planner: PlannerConfig) -> set[int]:
    """Find the pairs that may be merged, whatever a criterion says.

    Args:
        units: Facts of all units in order.

    Returns:
        Indices; pair i is units i and i + 1.
    """
    edge = 0 if planner.merge_boundary else 1
    inner = range(edge, len(units) - 1 - edge)
    return {i for i in inner if planner.not_comparable != "exclude" or not comparable(units[i], units[i + 1])}


def _largest(
    decider: Criterion, allowed: Collection[int], planner: PlannerConfig, probe: Probe | None
) -> _Choice:
    """Choose the pairs with the largest differences, as many as configured or as calm the probe's curve."""
    candidates = [d if i in allowed else 0.0 for i, d in enumerate(decider.differences)]
    asked, note = planner.merge_count, ""
    if asked == "auto":
        asked, note = auto_count(candidates, planner, probe)
    elif asked > len(candidates) and asked != PlannerConfig().merge_count:  # the default fits any network
        raise PlanError(
            f"planner.merge_count: {asked} is not right: {len(candidates) + 1} units have {len(candidates)} "
            f"pairs of neighbours; give 0 to {len(candidates)}, or auto"
        )
    pairs = top_pairs(candidates, count=asked, max_group_size=planner.max_group_size)
    if len(pairs) < asked:
        note = _fewer(len(pairs), asked, candidates, allowed, planner)
    if pairs and set(pairs) == set(allowed):
        note = f"{note} {_EVERYTHING}".strip()
    return _Choice(pairs=pairs, asked=asked, decider=decider, note=note)


def _fewer(
    merged: int, asked: int, candidates: Sequence[float], allowed: Collection[int], planner: PlannerConfig
) -> str:
    """Say why less was merged than was asked for, and what would allow more."""
    ranked = sum(difference > 0 for difference in candidates)
    alone = [] if planner.merge_boundary else ["the first and the last unit stay alone"]
    alone += ["pairs that differ in kind stay apart"] * (planner.not_comparable == "exclude")
    more = ["planner.merge_boundary=true"] * (not planner.merge_boundary)
    more += ["planner.not_comparable=include"] * (planner.not_comparable == "exclude")
    said = [f"{len(allowed)} of {len(candidates)} pairs of neighbours may be merged"]
    said[0] += f" ({', and '.join(alone)})" if alone and len(allowed) < len(candidates) else ""
    if ranked < len(allowed):
        said.append(f"{ranked} of them differ by {planner.name}")
        more.append("another planner")
    if merged < ranked:
        said.append(f"a group has at most planner.max_group_size={planner.max_group_size} units")
        more.append("a larger planner.max_group_size")
    remedy = f" To merge more, set {' or '.join(more)}." if more else ""
    return f"{merged} of planner.merge_count={asked} merges were made: {'; '.join(said)}.{remedy}"


_EVERYTHING = (
    "Every pair that may be merged was merged, so there was nothing to choose; for fewer set a smaller "
    "planner.merge_count or planner.max_group_size."
)


_JUDGED = "Held-out images decide during the run which of these merges are made."


def _about(probe: Probe | None) -> str:
    if probe is None:
        return ""
    about = f"Probe: a block-wise run of {probe.steps} steps per unit"
    if probe.pairs is not None:
        about += f", and trials of {sum(map(math.isfinite, probe.pairs))} of {len(probe.pairs)} pairs"
    return f"{about}."


def _decider(criteria: Sequence[Criterion], planner: PlannerConfig) -> Criterion:
    kind = planner.difference or differences_of(planner.name)[0]
    for found in criteria:
        if (found.name, found.difference) == (planner.name, kind):
            return found
    if planner.name == "budget" and any(criterion.name == "loss" for criterion in criteria):
        raise PlanError("planner=budget needs trials of merges in its probe run, and this one has none")
    what = "images to calibrate on" if planner.name == "pack" else "a probe run: images to calibrate on"
    raise PlanError(f"planner={planner.name} needs {what}")


def _with_loss(decider: Criterion, criteria: Sequence[Criterion], differing: Sequence[str]) -> Criterion:
    """Rank comparable pairs by ModCap and all others by the loss, in one list.

    The two have no common scale, so each pair gets its rank by its own criterion among all pairs, as a
    fraction: 1 for the largest difference; 0 where there is none.
    """
    wanted = ("loss", differences_of("loss")[0])
    by_loss = next((c for c in criteria if (c.name, c.difference) == wanted), None)
    if by_loss is None:
        raise PlanError("planner.not_comparable=loss needs a probe run: images to calibrate on")
    ranks = [_ranks(criterion.differences) for criterion in (decider, by_loss)]
    return Criterion(
        name=decider.name,
        difference="rank",
        capacities=decider.capacities,
        title=decider.title,
        short=decider.short,
        log=decider.log,
        differences=tuple(ranks[bool(why)][i] for i, why in enumerate(differing)),
    )


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other <= value for other in values) / len(values) if value > 0 else 0.0 for value in values]


def _published(name: str) -> tuple[tuple[str, ...], ...]:
    family = next((known for known in PUBLISHED if name.startswith(f"{known}_")), name)
    if family not in PUBLISHED:
        raise one_of("planner.schedule", name, PUBLISHED, error=PlanError)
    return PUBLISHED[family]  # a narrower network of the family has the same units


def _merge(units: Sequence[UnitFacts], pair: int, decider: Criterion | None) -> Merge:
    left, right = units[pair], units[pair + 1]
    return Merge(
        left=left.name,
        right=right.name,
        left_capacity=decider.capacities[pair] if decider else None,
        right_capacity=decider.capacities[pair + 1] if decider else None,
        difference=decider.differences[pair] if decider else None,
        not_comparable=comparable(left, right),
    )
