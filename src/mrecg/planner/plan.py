"""Make the plan: rank the neighbours by every criterion there is; the configured one decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mrecg.config.schema import DIFFERENCES, GranularityConfig, PlannerConfig
from mrecg.errors import PlanError, one_of
from mrecg.graph.facts import UnitFacts
from mrecg.planner.capacity import comparable, differences, module_capacity
from mrecg.planner.published import PUBLISHED
from mrecg.planner.schedule import Criterion, Merge, Plan, chain, named_pairs, top_pairs


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a plain block-wise run found; input of the data-dependent criteria.

    Attributes:
        losses: Reconstruction loss behind each unit.
        errors: Relative error behind each unit.
        steps: Optimisation steps a unit that the run took.
    """

    losses: tuple[float, ...]
    errors: tuple[float, ...]
    steps: int


def needs_probe(granularity: GranularityConfig, planner: PlannerConfig) -> bool:
    """Tell whether a plan needs the numbers of a probe run.

    Args:
        granularity: The configured granularity.
        planner: The configured planner.

    Returns:
        True for mixed granularity by loss or error (or with pairs that only the loss can rank), unless
        nothing is to be merged anyway.
    """
    by_loss = planner.name in ("loss", "error") or (
        planner.name == "modcap" and planner.not_comparable == "loss"
    )
    return granularity.name == "mixed" and by_loss and planner.merge_count > 0


def make_plan(
    units: Sequence[UnitFacts],
    bits: Mapping[str, int],
    *,
    granularity: GranularityConfig,
    planner: PlannerConfig,
    model: str,
    probe: Probe | None = None,
    graph_notes: Sequence[str] = (),
) -> Plan:
    """Decide which units are optimised jointly.

    Args:
        units: Facts of all units in order.
        bits: Weight bits by layer name.
        granularity: The configured granularity.
        planner: The configured planner.
        model: Name of the model, by which published schedules are found.
        probe: Numbers of a plain run; needed when `needs_probe`.
        graph_notes: What is to be known about the units, for the plan's reader.

    Returns:
        The plan, with every criterion that could be computed.

    Raises:
        PlanError: A schedule names what is no unit, there is no published schedule for the model, or the
            probe is missing.
    """
    names = tuple(unit.name for unit in units)
    if probe is not None and not len(probe.losses) == len(probe.errors) == len(names):
        raise PlanError(
            f"the probe holds {len(probe.errors)} numbers for {len(names)} units; run it on this graph"
        )
    criteria = _criteria(units, bits, planner, probe)
    differing = tuple(comparable(left, right) for left, right in pairwise(units))
    decider, note = None, ""
    asked = planner.merge_count if granularity.name == "mixed" else 0
    if granularity.name in ("layer", "block"):
        pairs: list[int] = []
    elif granularity.name == "network":
        pairs = list(range(len(units) - 1))
    elif granularity.name == "stage":
        pairs = [i for i in range(len(units) - 1) if units[i].stage == units[i + 1].stage]
    elif granularity.name == "fixed":
        pairs = named_pairs(names, granularity.groups)
    elif planner.name == "published":
        schedule = planner.schedule or model
        pairs = named_pairs(names, _published(schedule), key=f"planner.schedule={schedule}")
        asked = len(pairs)
    elif asked == 0:
        pairs = []
    else:
        decider = _decider(criteria, planner)
        if planner.not_comparable == "loss":
            decider = _with_loss(decider, criteria, differing)
            criteria = [decider, *criteria]
        edge = 0 if planner.merge_boundary else 1
        inner = set(range(edge, len(names) - 1 - edge))
        if planner.not_comparable == "exclude":
            inner = {i for i in inner if not differing[i]}
        candidates = [d if i in inner else 0.0 for i, d in enumerate(decider.differences)]
        pairs = top_pairs(candidates, count=asked, max_group_size=planner.max_group_size)
        if len(pairs) < asked:
            note = f"{len(pairs)} of {asked} merges: no other pair has a difference and fits the group size"
            note += ", among the comparable ones. " if planner.not_comparable == "exclude" else ". "
    if probe is not None:
        note += f"Probe: a block-wise run of {probe.steps} steps a unit."
    return Plan(
        granularity=granularity.name,
        planner=planner.name if granularity.name == "mixed" else "",
        merge_count=asked,
        units=names,
        groups=tuple(tuple(names[i] for i in group) for group in chain(len(names), pairs)),
        merges=tuple(_merge(units, pair, decider) for pair in pairs),
        criteria=tuple(sorted(criteria, key=lambda criterion: criterion is not decider)),
        not_comparable=differing,
        note=note.strip(),
        graph_notes=tuple(graph_notes),
    )


def _criteria(
    units: Sequence[UnitFacts], bits: Mapping[str, int], planner: PlannerConfig, probe: Probe | None
) -> list[Criterion]:
    modcap = tuple(module_capacity(unit, bits, stride_factor=planner.stride_factor) for unit in units)
    capacities = {"modcap": modcap}
    if probe is not None:
        capacities |= {"loss": probe.losses, "error": probe.errors}
    return [
        Criterion(name=name, difference=kind, capacities=values, differences=tuple(differences(kind, values)))
        for name, values in capacities.items()
        for kind in DIFFERENCES[name]
    ]


def _decider(criteria: Sequence[Criterion], planner: PlannerConfig) -> Criterion:
    kind = planner.difference or DIFFERENCES[planner.name][0]
    for criterion in criteria:
        if (criterion.name, criterion.difference) == (planner.name, kind):
            return criterion
    raise PlanError(f"planner={planner.name} needs a probe run: images to calibrate on")


def _with_loss(decider: Criterion, criteria: Sequence[Criterion], differing: Sequence[str]) -> Criterion:
    """Rank comparable pairs by ModCap and all others by the loss, in one list.

    The two have no common scale, so each pair gets its rank by its own criterion among all pairs, as a
    fraction: 1 for the largest difference; 0 where there is none.
    """
    by_loss = next((c for c in criteria if (c.name, c.difference) == ("loss", DIFFERENCES["loss"][0])), None)
    if by_loss is None:
        raise PlanError("planner.not_comparable=loss needs a probe run: images to calibrate on")
    ranks = [_ranks(criterion.differences) for criterion in (decider, by_loss)]
    return Criterion(
        name=decider.name,
        difference="rank",
        capacities=decider.capacities,
        differences=tuple(ranks[bool(why)][i] for i, why in enumerate(differing)),
    )


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other <= value for other in values) / len(values) if value > 0 else 0.0 for value in values]


def _published(name: str) -> tuple[tuple[str, ...], ...]:
    if name not in PUBLISHED:
        raise one_of("planner.schedule", name, PUBLISHED, error=PlanError)
    return PUBLISHED[name]


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
