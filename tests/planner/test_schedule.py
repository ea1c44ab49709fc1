import json
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrecg.errors import PlanError
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.schedule import Criterion, Merge, Plan, chain, named_pairs, top_pairs, validate

UNITS = ("stem", "a.0", "a.1", "b.0", "fc")


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(0, 9))
def test_top_pairs_is_the_optimum_over_all_subsets(numbers: list[int], count: int) -> None:
    values = [float(number) for number in numbers]
    chosen = top_pairs(values, count=count, max_group_size=99)
    best = max(
        sum(values[i] for i in subset)
        for size in range(min(count, len(values)) + 1)
        for subset in combinations(range(len(values)), size)
    )
    assert sum(values[i] for i in chosen) == best
    assert len(chosen) == min(count, sum(value > 0 for value in values))
    assert chosen == sorted(set(chosen))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(0, 12), st.integers(2, 5))
def test_the_group_size_is_kept_and_used_up(numbers: list[int], count: int, size: int) -> None:
    values = [float(number) for number in numbers]
    chosen = top_pairs(values, count=count, max_group_size=size)
    assert max(map(len, chain(len(values) + 1, chosen))) <= size
    if len(chosen) < count:  # then no pair that is left over would fit
        rest = [i for i in range(len(values)) if i not in chosen and values[i] > 0]
        assert all(max(map(len, chain(len(values) + 1, [*chosen, i]))) > size for i in rest)


def test_ties_go_to_the_earlier_pair_and_zero_is_never_chosen() -> None:
    assert top_pairs([2.0, 3.0, 3.0, 3.0], count=2, max_group_size=9) == [1, 2]
    assert top_pairs([0.0, 0.0], count=2, max_group_size=9) == []
    assert top_pairs([5.0, 1.0], count=0, max_group_size=9) == []


def test_a_pair_that_makes_a_group_too_long_is_passed_over() -> None:
    assert top_pairs([3.0, 9.0, 4.0, 0.0, 1.0], count=3, max_group_size=3) == [1, 2, 4]


def test_pairs_chain_into_groups() -> None:
    assert chain(6, [0, 1, 4]) == [[0, 1, 2], [3], [4, 5]]
    assert chain(3, []) == [[0], [1], [2]]


def test_named_pairs() -> None:
    assert named_pairs(UNITS, [["b.0", "fc"], ["stem", "a.0", "a.1"]]) == [0, 1, 3]
    assert named_pairs(UNITS, [["a.0"]]) == []


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [["a.0", "a.2"]],
            r"granularity\.groups: 'a\.2' is not a choice.*choose from stem, a\.0, a\.1, b\.0, fc",
        ),
        ([["a.0", "a.1"], ["a.1", "b.0"]], r"granularity\.groups: a\.1 stands in it twice"),
        ([["a.0", "b.0"]], r"granularity\.groups: b\.0 does not follow a\.0; a\.1 does"),
        ([["fc", "b.0"]], r"granularity\.groups: b\.0 does not follow fc; nothing does"),
    ],
)
def test_named_pairs_say_what_is_wrong(groups: list[list[str]], message: str) -> None:
    with pytest.raises(PlanError, match=message) as error:
        named_pairs(UNITS, groups)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "groups",
    [
        [["stem", "a.0"], ["a.1", "b.0"]],
        [["stem"], ["a.1", "a.0"], ["b.0", "fc"]],
        [["stem"], ["a.0", "a.1"], ["a.1", "b.0", "fc"]],
        [["stem", "a.0", "a.1", "b.0", "fc"], []],
        [["stem", "a.0", "a.1", "b.0", "fc", "more"]],
    ],
)
def test_validate_refuses_what_is_no_partition(groups: list[list[str]]) -> None:
    with pytest.raises(PlanError, match="every unit exactly once and in order"):
        validate(UNITS, groups)
    with pytest.raises(PlanError):
        Plan(granularity="fixed", units=UNITS, groups=tuple(map(tuple, groups)))


def plan() -> Plan:
    return Plan(
        granularity="mixed",
        planner="modcap",
        merge_count=1,
        units=UNITS,
        groups=(("stem",), ("a.0", "a.1"), ("b.0",), ("fc",)),
        merges=(
            Merge(
                left="a.0",
                right="a.1",
                left_capacity=3.0,
                right_capacity=1.0,
                difference=4.0,
                not_comparable="stride",
            ),
        ),
        criteria=(
            Criterion(
                name="modcap", difference="squared", capacities=(2.0, 3.0, 1, 1, 1), differences=(1, 4, 0, 0)
            ),
        ),
        note="a note",
        facts=tuple(
            UnitFacts(
                name=name,
                layers=(
                    LayerFacts(
                        name=f"{name}.conv", weights=9, stride=2, kernel=(3, 3), kind="dense", macs=81
                    ),
                ),
                residual=name.startswith("a"),
                stage=1,
                activations=27,
            )
            for name in UNITS
        ),
    )


def test_plan_survives_json() -> None:
    values = json.loads(json.dumps(plan().as_dict()))
    assert Plan.from_dict(values) == plan()
    del values["facts"]  # as earlier versions wrote it
    assert Plan.from_dict(values) == replace(plan(), facts=())


@pytest.mark.parametrize("key", ["capacities", "differences"])
def test_a_criterion_of_other_units_is_refused(key: str) -> None:
    values = json.loads(json.dumps(plan().as_dict()))
    values["criteria"][0][key].append(1.0)
    with pytest.raises(PlanError, match=r"criteria: modcap has \d capacities and \d differences, .* 5 units"):
        Plan.from_dict(values)


def test_plan_looks_up_groups() -> None:
    assert plan().merged == (("a.0", "a.1"),)
    assert [plan().group_of(unit) for unit in UNITS] == [0, 1, 1, 2, 3]
