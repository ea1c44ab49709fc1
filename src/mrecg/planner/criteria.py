"""Criteria: what is measured of each unit, so that the differences of neighbours rank the pairs to merge.

A criterion is a function from `Measured` to one number for each unit, registered by `register`; the package's
own are below. See docs/how-to/extending.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from mrecg.config.merging import PlannerConfig
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner import budget
from mrecg.planner.capacity import differences, module_capacity
from mrecg.planner.probe import Probe
from mrecg.planner.schedule import Criterion
from mrecg.registry import CRITERIA


class Measured(NamedTuple):
    """What a criterion may look at.

    Attributes:
        units: Facts of all units, in order.
        bits: Weight bits by layer name.
        probe: Numbers of a block-wise run; None where there is none.
    """

    units: Sequence[UnitFacts]
    bits: Mapping[str, int]
    planner: PlannerConfig
    probe: Probe | None


Capacities = TypeVar("Capacities", bound=Callable[[Measured], Sequence[float]])


@dataclass(frozen=True, kw_only=True)
class CriterionKind:
    """A criterion, and what is to be known of it.

    Attributes:
        name: By which the planner is chosen.
        capacities: Gives one number for each unit.
        title: What it measures, as a heading.
        short: The same in a sentence or at an axis.
        differences: How neighbours may compare (see `mrecg.planner.capacity.differences`), the default first.
        needs_probe: Whether it needs the numbers of a probe run.
        curve: The curve of the probe that ``merge_count=auto`` calms.
        log: Whether the numbers span decades, so that axes are logarithmic.
    """

    name: str
    capacities: Callable[[Measured], Sequence[float]]
    title: str
    short: str
    differences: tuple[str, ...]
    needs_probe: bool
    curve: Literal["loss", "error"]
    log: bool

    def ranked(self, measured: Measured) -> list[Criterion]:
        """Measure all units, and compare neighbours in every way that the criterion has."""
        values = tuple(map(float, self.capacities(measured)))
        return [
            Criterion(
                name=self.name,
                difference=kind,
                capacities=values,
                differences=tuple(differences(kind, values)),
                title=self.title,
                short=self.short,
                log=self.log,
            )
            for kind in self.differences
        ]


def register(
    name: str,
    *,
    title: str,
    short: str = "",
    differences: Sequence[str] = ("squared",),
    needs_probe: bool = False,
    curve: Literal["loss", "error"] = "loss",
    log: bool = False,
) -> Callable[[Capacities], Capacities]:
    """Register a function as a criterion; for use as a decorator.

    Args:
        name: By which it is chosen: ``planner=NAME``.
        title: What it measures, as a heading.
        short: The same in a sentence or at an axis; empty: the name.
        differences: How neighbours may compare: of ``squared``, ``log_ratio``, ``fall`` and ``rise``, the
            default first.
        needs_probe: Whether `Measured.probe` has to be there.
        curve: The curve of the probe that ``merge_count=auto`` calms.
        log: Whether axes are logarithmic.

    Returns:
        The decorator, which gives the function back.

    Raises:
        ConfigError: The name is taken, or is no name.
    """

    def decorated(capacities: Capacities) -> Capacities:
        kind = CriterionKind(
            name=name,
            capacities=capacities,
            title=title,
            short=short or name,
            differences=tuple(differences),
            needs_probe=needs_probe,
            curve=curve,
            log=log,
        )
        CRITERIA.add(name, kind)
        return capacities

    return decorated


def criterion(name: str) -> CriterionKind:
    """Find a criterion by its name; raises `ConfigError` where there is none."""
    found: CriterionKind = CRITERIA.get(name)
    return found


def described(criterion: Criterion) -> Criterion:
    """Add what a plan of an earlier version does not say of a criterion, as far as it is known."""
    if criterion.title:
        return criterion
    if criterion.name == "budget":
        return replace(criterion, title=budget.TITLE, short=budget.SHORT)
    if criterion.name not in CRITERIA:
        return replace(criterion, title=criterion.name, short=criterion.name)
    kind: CriterionKind = CRITERIA.get(criterion.name)
    return replace(criterion, title=kind.title, short=kind.short, log=kind.log)


@register(
    "modcap",
    title="Module capacity (ModCap)",
    short="ModCap",
    differences=("squared", "log_ratio"),
    log=True,
)
def modcap(measured: Measured) -> list[float]:
    """Weights times bits, from the shapes alone."""
    factor = measured.planner.stride_factor
    return [module_capacity(unit, measured.bits, stride_factor=factor) for unit in measured.units]


@register(
    "loss",
    title="Reconstruction loss of a block-wise probe",
    short="the probe's loss",
    differences=("fall", "squared", "log_ratio"),
    needs_probe=True,
)
def loss(measured: Measured) -> Sequence[float]:
    """Reconstruction loss after each unit of the probe."""
    assert measured.probe is not None
    return measured.probe.losses


@register(
    "error",
    title="Relative error of a block-wise probe",
    short="the probe's relative error",
    differences=("rise",),
    needs_probe=True,
    curve="error",
)
def error(measured: Measured) -> Sequence[float]:
    """Relative error after each unit of the probe."""
    assert measured.probe is not None
    return measured.probe.errors
