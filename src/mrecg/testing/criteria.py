"""What every criterion of the planner must do."""

import json
import math
from typing import Any

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import GranularityConfig
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner.capacity import differences
from mrecg.planner.criteria import Measured, criterion
from mrecg.planner.plan import make_plan
from mrecg.planner.probe import Probe, needs_probe
from mrecg.planner.schedule import Plan
from mrecg.report.reasons import criterion_title, reason
from mrecg.testing import network as net

_PROBE = Probe(losses=(1.0, 4.0, 2.0, 5.0, 0.5), errors=(0.1, 0.3, 0.2, 0.6, 0.4), steps=10)


def has_words(name: str) -> None:
    """It says what it measures, and how neighbours compare."""
    kind = criterion(name)
    assert kind.name == name and kind.title and kind.short and kind.capacities.__doc__
    for difference in kind.differences:
        assert len(differences(difference, [1.0, 2.0, 3.0])) == 2


def gives_a_number_for_each_unit(name: str) -> None:
    """Its numbers are finite, the same each time, and compare in every way that it names."""
    units, bits = _subject()
    measured = Measured(units, bits, PlannerConfig(name=name), _PROBE)
    first, again = (criterion(name).ranked(measured) for _ in range(2))
    assert first == again
    for ranked in first:
        assert len(ranked.capacities) == len(units) and len(ranked.differences) == len(units) - 1
        assert all(map(math.isfinite, (*ranked.capacities, *ranked.differences)))


def plans(name: str) -> None:
    """It ranks pairs, the plan says why, and plan.json holds all of it."""
    for difference in (None, *criterion(name).differences):
        chosen: Any = difference  # the schema names the differences one by one
        plan = _plan(name, PlannerConfig(name=name, merge_count=2, difference=chosen))
        assert plan.planner == name and plan.criteria[0].name == name
        assert all(criterion(name).short in reason(plan, merge) for merge in plan.merges)
        assert criterion(name).title in criterion_title(plan.criteria[0])
        assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def finds_how_many_to_merge(name: str) -> None:
    """merge_count=auto works with it."""
    planner = PlannerConfig(name=name, merge_count="auto")
    assert needs_probe(GranularityConfig(name="mixed"), planner)
    assert "merge_count=auto merges" in _plan(name, planner).note


CRITERION_CHECKS = (has_words, gives_a_number_for_each_unit, plans, finds_how_many_to_merge)


def _subject() -> tuple[list[UnitFacts], dict[str, int]]:
    network = net.network()
    return [unit.facts for unit in network.units], network.policy.layers


def _plan(name: str, planner: PlannerConfig) -> Plan:
    units, bits = _subject()
    probe = _PROBE if criterion(name).needs_probe or planner.merge_count == "auto" else None
    return make_plan(
        units, bits, granularity=GranularityConfig(name="mixed"), planner=planner, model="check", probe=probe
    )
