"""Pack-PTQ's packs: what the published rule gives, within the limits of a plan."""

import random

import pytest

from mrecg.config.schema import GranularityConfig, PlannerConfig
from mrecg.errors import PlanError
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.pack import Alone, pack_scores, packs
from mrecg.planner.plan import make_plan, needs_alone, needs_probe
from mrecg.planner.schedule import Plan, chain
from mrecg.report.reasons import reason

MIXED = GranularityConfig(name="mixed")
SCORES = (0.1, 5.0, 3.0, 4.0, 1.0, 2.0, 9.0, 0.5)
ALONE = [Alone(prediction=score + 0.25, slope=0.25, squared_error=2.0) for score in SCORES]
UNITS = [
    UnitFacts(
        name=f"u{i}",
        layers=(LayerFacts(name=f"u{i}.0", weights=10 * (i + 1), stride=1, kernel=(3, 3), kind="dense"),),
        residual=False,
        stage=0,
    )
    for i in range(len(SCORES))
]


def plan(alone: list[Alone] | None = ALONE, **planner: object) -> Plan:
    return make_plan(
        UNITS,
        {},
        granularity=MIXED,
        planner=PlannerConfig(name="pack", **planner),  # type: ignore[arg-type]
        model="tiny",
        probe=alone,
    )


def published(scores: list[float]) -> list[list[int]]:
    """The rule, as one reads it: heads by ascending score, each pack to the end of what is left."""
    found: list[list[int]] = []
    left = list(range(len(scores)))
    while left:
        head = min(left, key=lambda i: scores[i])
        found.insert(0, [i for i in left if i >= head])
        left = [i for i in left if i < head]
    return found


def test_packs_are_the_published_ones_where_nothing_limits_them() -> None:
    draw = random.Random(0)
    for count in (1, 2, 7, 30):
        scores = [draw.random() for _ in range(count)]
        pairs = packs(scores, range(count - 1), max_group_size=count + 1)
        assert chain(count, pairs) == published(scores)


def test_a_long_pack_is_divided_and_no_pair_is_lost() -> None:
    draw = random.Random(1)
    for size in (2, 3, 4):
        scores = [draw.random() for _ in range(25)]
        groups = chain(25, packs(scores, range(24), max_group_size=size))
        assert max(map(len, groups)) <= size
        heads = {group[0] for group in published(scores)}
        assert heads <= {group[0] for group in groups}


def test_the_plan() -> None:
    found = plan()
    assert found.groups == (("u0",), ("u1",), ("u2", "u3"), ("u4", "u5", "u6"), ("u7",))
    assert (found.planner, found.merge_count) == ("pack", 3)
    assert found.criteria[0].name == "pack"
    assert found.criteria[0].capacities == pytest.approx(SCORES)
    assert plan(merge_count=0).groups == found.groups  # it does not apply
    assert plan(max_group_size=2).groups[3:5] == (("u4",), ("u5", "u6"))
    assert plan(merge_boundary=True).groups == (("u0", "u1", "u2", "u3"), ("u4", "u5", "u6"), ("u7",))
    assert "Pack-PTQ's score is 1, then 2; the pack continues" in reason(found, found.merges[1])
    assert Plan.from_dict(found.as_dict()) == found


def test_it_takes_images_but_no_probe() -> None:
    planner = PlannerConfig(name="pack")
    assert needs_alone(MIXED, planner) and not needs_probe(MIXED, planner)
    assert not needs_alone(GranularityConfig(name="block"), planner)
    assert not needs_alone(MIXED, PlannerConfig())
    with pytest.raises(PlanError, match=r"^planner=pack needs images to calibrate on$"):
        plan(alone=None)


def test_a_unit_that_quantization_does_not_change_has_no_curvature() -> None:
    assert Alone(prediction=0.0, slope=0.0, squared_error=0.0).score == 0.0
    assert pack_scores(ALONE).differences[0] == pytest.approx(4.9)


@pytest.mark.parametrize("judged", [None, "all", "held_out"])
def test_every_planner_can_be_judged(judged: str | None) -> None:
    for name in ("safe", "modcap", "pack", "loss", "published"):
        planner = PlannerConfig(name=name, accept=judged)  # type: ignore[arg-type]
        assert planner.judged == (judged == "held_out" or (judged is None and name == "safe"))
    assert "Held-out images decide" in plan(accept="held_out").note
    assert "Held-out" not in plan().note


def test_safe_is_module_capacity_by_its_ratio() -> None:
    plans = [
        make_plan(UNITS, {}, granularity=MIXED, planner=planner, model="tiny")
        for planner in (PlannerConfig(), PlannerConfig(name="modcap", difference="log_ratio"))
    ]
    assert plans[0].groups == plans[1].groups and plans[0].criteria == plans[1].criteria
    assert (plans[0].planner, plans[1].planner) == ("safe", "modcap")
    squared = make_plan(UNITS, {}, granularity=MIXED, planner=PlannerConfig(difference="squared"), model="t")
    assert squared.criteria[0].difference == "squared"
    assert not needs_probe(MIXED, PlannerConfig())
    assert needs_probe(MIXED, PlannerConfig(merge_count="auto"))
