import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import GranularityConfig, TrainerConfig
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError, PlanError
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.budget import MEMORY_FACTOR, best_pairs, step_cost, trial_gains
from mrecg.planner.plan import Probe, make_plan, needs_probe, needs_trials
from mrecg.planner.schedule import Plan, chain

NAN = math.nan
MIXED = GranularityConfig(name="mixed")


def partitions(units: int) -> Iterator[list[int]]:
    """All 2^(n-1) of them, as merged pairs."""
    for size in range(units):
        yield from map(list, combinations(range(units - 1), size))


def time_of(pairs: list[int], costs: list[int], *, repeat: bool) -> int:
    return sum(
        (len(group) if repeat else 1) * sum(costs[i] for i in group) for group in chain(len(costs), pairs)
    )


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 8))
    # Whole numbers, so that sums are exact and ties happen.
    gain = st.integers(-2, 6).map(float) | st.just(NAN)
    return {
        "gains": draw(st.lists(gain, min_size=count - 1, max_size=count - 1)),
        "costs": draw(st.lists(st.integers(1, 9), min_size=count, max_size=count)),
        "sizes": draw(st.lists(st.integers(1, 9), min_size=count, max_size=count)),
        "max_group_size": draw(st.integers(2, 5)),
        "repeat": draw(st.booleans()),
    }


@given(problems(), st.none() | st.floats(1, 4), st.none() | st.integers(9, 30))
def test_it_is_the_optimum_over_all_partitions(
    problem: dict[str, Any], budget: float | None, room: int | None
) -> None:
    gains, costs, sizes = problem["gains"], problem["costs"], problem["sizes"]
    time_limit = math.inf if budget is None else budget * sum(costs)
    memory = math.inf if room is None else room

    def fits(pairs: list[int]) -> bool:
        groups = chain(len(costs), pairs)
        return (
            all(gains[pair] > 0 for pair in pairs)
            and all(len(group) <= problem["max_group_size"] for group in groups)
            and all(sum(sizes[i] for i in group) <= memory for group in groups if len(group) > 1)
            and time_of(pairs, costs, repeat=problem["repeat"]) <= time_limit
        )

    found = best_pairs(**problem, time_limit=time_limit, room=memory)
    assert fits(found) and found == sorted(set(found))
    best = max((sum(gains[i] for i in p), -len(p)) for p in partitions(len(costs)) if fits(p))
    assert (sum(gains[i] for i in found), -len(found)) == best


def test_gains_do_not_have_to_chain_greedily() -> None:
    # The largest gain alone fits 19; the two others together gain more and fit it too, with 18.
    costs, gains = [1, 4, 4, 1, 1], [2.0, 3.0, 0.0, 2.0]
    assert best_pairs(gains, costs, costs, max_group_size=4) == [0, 1, 3]
    assert best_pairs(gains, costs, costs, time_limit=19, max_group_size=4) == [0, 3]
    assert best_pairs(gains, costs, costs, time_limit=17, max_group_size=4) == [3]  # as good as 0, and sooner
    assert best_pairs(gains, costs, costs, time_limit=11, max_group_size=4) == []
    assert best_pairs(gains, costs, costs, time_limit=11, max_group_size=4, repeat=False) == [0, 1, 3]


def test_sixty_units_are_soon_planned() -> None:
    costs = [10**7 * (1 + 37 * i % 61) for i in range(60)]
    gains = [(29 * i % 53) / 53 for i in range(59)]
    found = best_pairs(gains, costs, costs, time_limit=1.5 * sum(costs), max_group_size=4)
    assert time_of(found, costs, repeat=True) <= 1.5 * sum(costs) and len(found) > 10


def unit(name: str, *, macs: int = 600, elements: int = 20, stride: int = 1) -> UnitFacts:
    layer = LayerFacts(name=f"{name}.conv", weights=9, stride=stride, kernel=(3, 3), kind="dense", macs=macs)
    return UnitFacts(name=name, layers=(layer,), residual=False, activations=elements)


UNITS = tuple(unit(f"u{i}") for i in range(6))
PROBE = Probe(
    losses=(1.0, 2.0, 3.0, 2.0, 1.0, 1.0),
    errors=(0.1, 0.2, 0.3, 0.3, 0.4, 0.5),
    steps=7,
    reach=(0.1, 0.2, 0.3, 0.4, 0.45, 0.5),
    # Gains: 0.1, 0.05, 0.2, -0.15 (worse than alone), not tried.
    pairs=(0.1, 0.25, 0.2, 0.6, NAN),
)


def plan(
    units: tuple[UnitFacts, ...] = UNITS, probe: Probe | None = PROBE, steps_per: Any = "unit", **planner: Any
) -> Plan:
    return make_plan(
        units,
        {},
        granularity=MIXED,
        planner=PlannerConfig(**{"name": "budget", **planner}),
        model="tiny",
        probe=probe,
        trainer=TrainerConfig(steps_per=steps_per),
    )


def test_the_cost_of_a_step_by_hand() -> None:
    assert step_cost(UNITS[0]) == 600 + 20 * MEMORY_FACTOR == 1000


def test_a_plan_by_hand() -> None:
    # Every unit costs 1000, blocks alone 6000. One pair makes that 8000, two pairs 10,000, three units in one
    # group 3 * 3000 + 3000 = 12,000.
    found = plan()
    assert found.groups == (("u0",), ("u1",), ("u2", "u3"), ("u4",), ("u5",))
    assert found.note == (
        "Predicted final error 0.5 -> 0.3 at 1.33x the step time of blocks alone (budget 1.5x). "
        "Probe: a block-wise run of 7 steps per unit, and trials of 4 of 5 pairs."
    )
    assert (found.merge_count, found.planner) == (1, "budget")
    assert found.merges[0].difference == pytest.approx(0.4) and found.merges[0].right_capacity == 0.4
    assert plan(time_budget=2.0).merged == (("u1", "u2", "u3"),)
    assert plan(time_budget=2.0, merge_boundary=True).merged == (("u0", "u1"), ("u2", "u3"))
    assert plan(time_budget=3.0, merge_boundary=True).merged == (("u0", "u1", "u2", "u3"),)
    assert plan(time_budget=3.0, merge_boundary=True, max_group_size=2).merge_count == 2
    free = plan(steps_per="group", time_budget=1.0)
    assert free.merged == (("u1", "u2", "u3"),) and "0.27 at 1.00x" in free.note


def test_criteria_stand_side_by_side_and_survive_json() -> None:
    found = plan()
    gains = found.criteria[0]
    assert (gains.name, gains.difference, gains.capacities) == ("budget", "gain", PROBE.reach)
    assert gains.differences == pytest.approx((0.2, 0.1, 0.4, -0.3, 0.0))
    assert [(c.name, c.difference) for c in found.criteria[1:]] == [
        *(("modcap", "squared"), ("modcap", "log_ratio")),
        *(("loss", "fall"), ("loss", "squared"), ("loss", "log_ratio"), ("error", "rise")),
    ]
    assert Plan.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False))) == found
    by_loss = plan(name="loss", merge_count=1)
    assert by_loss.criteria[0].name == "loss" and gains in by_loss.criteria


def test_a_gain_within_the_noise_of_a_trial_is_none() -> None:
    assert plan(min_gain=0.39).merged == (("u2", "u3"),)
    nothing = plan(min_gain=0.41)
    assert nothing.merged == () and nothing.merge_count == 0
    assert nothing.note.startswith(
        "Predicted final error 0.5. Nothing is merged: no pair gains planner.min_gain=0.41 of it."
    )
    assert plan(min_gain=0.0, time_budget=100).merge_count == 2  # not the one that harms


def test_no_plan_breaks_a_budget() -> None:
    # 2 x 20 elements x 32 images x 4 bytes: far less than 1 MB.
    assert plan(memory_budget_mb=1).merge_count == 1
    large = tuple(replace(unit, activations=5000) for unit in UNITS)  # 0.61 MB each
    nothing = plan(large, memory_budget_mb=1)
    assert (
        nothing.merged == () and "2 pairs would gain, and none fits planner.time_budget=1.5" in nothing.note
    )
    assert plan(large, memory_budget_mb=2).merge_count == 1
    with pytest.raises(
        PlanError,
        match=r"planner\.memory_budget_mb: 1 is too little for u3 alone, which keeps 3 MB of activations at "
        r"trainer\.batch_size=32",
    ):
        plan((*UNITS[:3], replace(UNITS[3], activations=20_000), *UNITS[4:]), memory_budget_mb=1)
    assert plan(time_budget=1.0).merged == ()


def test_pairs_that_are_not_comparable_can_be_left_out() -> None:
    units = (*UNITS[:3], unit("u3", stride=2), *UNITS[4:])
    assert plan(units).merged == (("u2", "u3"),)
    assert plan(units, not_comparable="exclude").merged == (("u1", "u2"),)


def test_what_it_needs() -> None:
    by_budget = PlannerConfig(name="budget", merge_count=0)
    assert needs_probe(MIXED, by_budget) and needs_trials(MIXED, by_budget)
    assert not needs_probe(GranularityConfig(name="block"), by_budget)
    assert not needs_trials(GranularityConfig(name="block"), by_budget)
    assert not needs_trials(MIXED, PlannerConfig(name="loss"))
    with pytest.raises(PlanError, match="planner=budget needs a probe run"):
        plan(probe=None)
    with pytest.raises(PlanError, match="planner=budget needs trials of merges"):
        plan(probe=replace(PROBE, pairs=None))
    with pytest.raises(PlanError, match=r"the size of an image has to be known: set model\.input_shape"):
        plan(tuple(replace(unit, activations=0) for unit in UNITS))


def test_gains_of_trials() -> None:
    assert trial_gains(replace(PROBE, reach=None)) is None
    diverged = trial_gains(replace(PROBE, pairs=(NAN, math.inf, 0.2, NAN, 0.5)))
    assert diverged is not None and diverged.differences == pytest.approx((0, 0, 0.4, 0, 0))


def test_what_is_healed_on_the_way_is_no_gain_at_the_end() -> None:
    # It falls to a half at u2, rises at u3, falls to a quarter at u4: an eighth of a gain at u1 is left.
    probe = replace(PROBE, reach=(0.1, 0.8, 0.4, 0.8, 0.2, 0.2), pairs=(0.4, 0.3, 0.6, 0.1, 0.2))
    gains = trial_gains(probe)
    assert gains is not None
    left = (1 / 8, 1 / 4, 1 / 4, 1, 1)
    expected = [
        kept * (alone - joint) / 0.2
        for kept, alone, joint in zip(left, probe.reach[1:], probe.pairs, strict=True)  # type: ignore[index, arg-type]
    ]
    assert gains.differences == pytest.approx(expected)
    nothing_left = replace(probe, reach=(0.1, 0.8, 0.0, 0.0, 0.0, 0.0))
    assert all(map(math.isfinite, trial_gains(nothing_left).differences))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_budget": 0.9}, r"planner\.time_budget: 0\.9 is not right"),
        ({"memory_budget_mb": 0}, r"planner\.memory_budget_mb: 0 is not right"),
        ({"min_gain": -0.1}, r"planner\.min_gain: -0\.1 is not right"),
        ({"oscillation_threshold": 2}, r"planner\.oscillation_threshold: 2 is not right"),
        ({"difference": "squared"}, r"planner\.difference: 'squared' does not go with budget.*from gain"),
    ],
)
def test_settings_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_config({"planner": {"name": "budget", **values}})
