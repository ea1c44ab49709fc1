"""From differences of neighbours to groups: top-k with chaining, schedules by name, and the validated `Plan`.

Source: MRECG, arXiv 2303.11906, section 4.3: of all pairs of neighbours the k with the largest squared
difference maximise the objective exactly; chosen pairs that share a unit become one longer group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mrecg.errors import PlanError, one_of
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner.verdict import Verdict
from mrecg.planner.widths import LayerBits

LONGEST_NAME = 4
"""Units that a group's name spells out, at most."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One way to rank the pairs, for all of them.

    Attributes:
        name: The name of the criterion: ``modcap``, ``loss``, ``error``, ``budget``, ``pack``, or that of
            another package.
        difference: How neighbours compare: ``squared``, ``log_ratio``, ``fall``, ``rise``, ``gain`` (which
            may be negative; 0 where the pair was not tried), or ``rank`` for two criteria in one list.
        capacities: What was measured, one number per unit.
        differences: What ranks the pairs, one number per pair of neighbours; pair i is units i and i + 1.
        title: The name of what was measured, as a heading.
        short: The name of what was measured, in a sentence or at an axis.
        log: Whether the capacities span several powers of ten.
    """

    name: str
    difference: str
    capacities: tuple[float, ...]
    differences: tuple[float, ...]
    title: str = ""
    short: str = ""
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A pair of neighbours that the plan merges, with the reason.

    Attributes:
        left: The name of the first unit.
        right: The name of the next unit.
        left_capacity: The first unit's value by the plan's criterion; None where a schedule was given.
        right_capacity: The next unit's value; None where a schedule was given.
        difference: What ranked the pair; None where a schedule was given.
        not_comparable: The property in which the two differ; empty when they are topologically homogeneous.
    """

    left: str
    right: str
    left_capacity: float | None
    right_capacity: float | None
    difference: float | None
    not_comparable: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which units are optimised jointly, and why.

    Attributes:
        granularity: The name of the granularity.
        planner: The planner that chose the pairs; empty where the granularity alone decides.
        merge_count: The number of pairs asked for, or chosen where that was left to the planner.
        units: The names of all units in the network's order.
        groups: The same names, grouped. Each name is in one group, and groups are contiguous.
        merges: The merged pairs in the network's order.
        criteria: Every criterion that was computed, the deciding one first.
        not_comparable: For each neighbouring pair the property in which the two differ; empty when they are
            topologically homogeneous.
        note: A remark on the probe that gave the numbers, on how many merges were chosen and why, or on why
            there are fewer than asked for.
        graph_notes: Remarks on the units, for example that a large one was split.
        facts: What each unit consists of, in the network's order.
        verdicts: What held-out images said of each planned group; empty where they were not asked. ``groups``
            and ``merges`` are those that were kept.
        layer_bits: The bits of each layer by its name, where patterns or a budget decide them; else empty.
    """

    granularity: str
    units: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    planner: str = ""
    merge_count: int = 0
    merges: tuple[Merge, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    not_comparable: tuple[str, ...] = ()
    note: str = field(default="")
    graph_notes: tuple[str, ...] = ()
    facts: tuple[UnitFacts, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    layer_bits: Mapping[str, LayerBits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate(self.units, self.groups)

    def group_of(self, unit: str) -> int:
        """The index of the group that a unit is in."""
        return next(i for i, group in enumerate(self.groups) if unit in group)

    @property
    def merged(self) -> tuple[tuple[str, ...], ...]:
        """The groups with more than one unit."""
        return tuple(group for group in self.groups if len(group) > 1)

    def after(self, verdicts: Sequence[Verdict]) -> "Plan":
        """The plan as it was carried out.

        Args:
            verdicts: What held-out images said of its merged groups.

        Returns:
            The plan, with the groups whose merge was not kept taken apart.
        """
        apart = {verdict.group for verdict in verdicts if not verdict.kept}
        groups = [
            part
            for group in self.groups
            for part in ([(name,) for name in group] if group in apart else [group])
        ]
        undone = {name for group in apart for name in group[:-1]}
        kept = len(verdicts) - len(apart)
        said = f"Held-out images decided: {kept} of {len(verdicts)} planned groups merged."
        return replace(
            self,
            groups=tuple(groups),
            merges=tuple(merge for merge in self.merges if merge.left not in undone),
            note=f"{self.note} {said}".strip(),
            verdicts=tuple(verdicts),
        )

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values for plan.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Read back what `as_dict` made.

        Args:
            values: The content of plan.json.

        Returns:
            The plan, validated.

        Raises:
            PlanError: A value is missing, unknown, or of another type; or the groups are not right.
        """
        for key in values:
            if key not in cls.__dataclass_fields__:
                raise one_of("plan", key, cls.__dataclass_fields__, error=PlanError)
        try:
            plan = _adapter().validate_python(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "plan"
            raise PlanError(f"{where}: {str(first['input'])[:80]!r} is not right: {first['msg']}") from None
        for criterion in plan.criteria:
            found = (len(criterion.capacities), len(criterion.differences))
            if found != (len(plan.units), len(plan.units) - 1):
                raise PlanError(
                    f"criteria: {criterion.name} has {found[0]} capacities and {found[1]} differences, which "
                    f"does not fit {len(plan.units)} units"
                )
        return plan


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def top_pairs(differences: Sequence[float], *, count: int, max_group_size: int) -> list[int]:
    """Choose the pairs with the largest differences.

    Args:
        differences: One number a pair; pairs with a difference of 0 are never chosen.
        count: How many to choose, at most.
        max_group_size: Units in one chained group, at most; a pair that would make a longer one is passed
            over.

    Returns:
        Indices of the chosen pairs, ascending. Ties go to the earlier pair.

    >>> top_pairs([1.0, 9.0, 4.0, 0.0], count=2, max_group_size=4)
    [1, 2]
    >>> top_pairs([1.0, 9.0, 4.0, 0.0], count=2, max_group_size=2)
    [1]
    """
    chosen: set[int] = set()
    for pair in sorted(range(len(differences)), key=lambda i: (-differences[i], i)):
        if len(chosen) == count or differences[pair] <= 0:
            break
        if max(map(len, chain(len(differences) + 1, [*chosen, pair]))) <= max_group_size:
            chosen.add(pair)
    return sorted(chosen)


def chain(units: int, pairs: Sequence[int]) -> list[list[int]]:
    """Join units by pairs of neighbours.

    Args:
        units: How many units there are.
        pairs: Indices of pairs; pair i joins units i and i + 1.

    Returns:
        All unit indices in order, grouped.

    >>> chain(4, [1])
    [[0], [1, 2], [3]]
    """
    joined, groups = set(pairs), [[0]]
    for unit in range(1, units):
        if unit - 1 in joined:
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return groups


def named_pairs(
    units: Sequence[str], groups: Sequence[Sequence[str]], *, key: str = "granularity.groups"
) -> list[int]:
    """Resolve a schedule that names units.

    Args:
        units: All unit names in order.
        groups: Groups of names; units that are not named stay alone.
        key: Where the groups come from, for the message.

    Returns:
        Indices of the pairs to join.

    Raises:
        PlanError: A name is no unit, stands twice, or a group is not contiguous.
    """
    position = {name: i for i, name in enumerate(units)}
    seen: set[str] = set()
    pairs = []
    for group in groups:
        for name in group:
            if name not in position:
                raise one_of(key, name, units, error=PlanError)
            if name in seen:
                raise PlanError(f"{key}: {name} stands in it twice")
            seen.add(name)
        for left, right in pairwise(group):
            if position[right] != position[left] + 1:
                behind = units[position[left] + 1] if position[left] + 1 < len(units) else "nothing"
                raise PlanError(f"{key}: {right} does not follow {left}; {behind} does")
            pairs.append(position[left])
    return sorted(pairs)


def group_name(names: Sequence[str]) -> str:
    """Name a group in files, curves and W&B.

    Args:
        names: The group's units in order.

    Returns:
        The names joined by ``+``; of a long group the first and the last, so that the name fits a file name.

    >>> group_name(["features.3", "features.4"])
    'features.3+features.4'
    >>> group_name([f"layer{i}" for i in range(9)])
    'layer0+..+layer8'
    """
    return "+".join(names) if len(names) <= LONGEST_NAME else f"{names[0]}+..+{names[-1]}"


def validate(units: Sequence[str], groups: Sequence[Sequence[str]]) -> None:
    """Check that groups hold every unit exactly once and in order.

    Args:
        units: All unit names in order.

    Raises:
        PlanError: They do not.
    """
    flat = [name for group in groups for name in group]
    if flat != list(units) or not all(groups):
        wrong = next((a for a, b in zip(flat, units, strict=False) if a != b), "its end")
        raise PlanError(f"the groups do not hold every unit exactly once and in order: see {wrong}")
