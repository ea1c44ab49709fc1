from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrecg.planner.oscillation import calming_count, left_over, oscillation
from mrecg.planner.schedule import top_pairs

curves = st.lists(st.floats(0, 100), min_size=2, max_size=9)


@given(curves)
def test_it_is_exactly_zero_for_monotone_curves_only(curve: list[float]) -> None:
    assert oscillation(sorted(curve)) == oscillation(sorted(curve, reverse=True)) == 0
    steps = [b - a for a, b in pairwise(curve)]
    assert (oscillation(curve) > 0) == (min(steps) < 0 < max(steps))


@given(st.lists(st.integers(-9, 9).map(float), max_size=8))
def test_the_index_is_zero_exactly_for_monotone_curves(curve: list[float]) -> None:
    monotone = curve in (sorted(curve), sorted(curve, reverse=True))
    assert (oscillation(curve) == 0) == monotone


@given(st.lists(st.floats(-1e3, 1e3), max_size=12))
def test_the_index_is_the_way_that_was_lost(curve: list[float]) -> None:
    ups = sum(max(b - a, 0.0) for a, b in pairwise(curve))
    downs = sum(max(a - b, 0.0) for a, b in pairwise(curve))
    assert oscillation(curve) == pytest.approx(2 * min(ups, downs), abs=1e-6)
    assert oscillation(curve[::-1]) == pytest.approx(oscillation(curve), abs=1e-6)
    assert oscillation([7 - 2 * e for e in curve]) == pytest.approx(2 * oscillation(curve), abs=1e-6)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_curve_that_is_not_finite_has_no_index(odd: float) -> None:
    assert oscillation([1.0, odd, 0.5]) != oscillation([1.0, odd, 0.5])


@given(curves, st.data())
def test_merging_never_predicts_more_oscillation(curve: list[float], data: st.DataObject) -> None:
    merged = data.draw(st.sets(st.integers(0, len(curve) - 2)))
    left = left_over(curve, merged)
    assert oscillation(left) <= oscillation(curve) + 1e-9
    assert (left[0], left[-1]) == (curve[0], curve[-1])
    assert left_over(curve, range(len(curve) - 1)) == [curve[0], curve[-1]]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=9), st.data(), st.floats(0, 1), st.integers(2, 4))
def test_the_count_is_the_smallest_that_reaches_the_goal(
    whole_numbers: list[int], data: st.DataObject, threshold: float, size: int
) -> None:
    curve = [float(number) for number in whole_numbers]  # of which the sums are exact
    numbers = st.lists(st.integers(0, 5), min_size=len(curve) - 1, max_size=len(curve) - 1)
    differences = [float(number) for number in data.draw(numbers)]
    goal = threshold * oscillation(curve)
    count, index = calming_count(curve, differences, goal=goal, max_group_size=size)

    predicted = []
    for k in range(len(curve)):
        pairs = top_pairs(differences, count=k, max_group_size=size)
        if len(pairs) == k:  # there are as many candidates
            predicted.append(oscillation(left_over(curve, pairs)))
    reached = [k for k, value in enumerate(predicted) if value <= goal]
    assert count == (reached[0] if reached else predicted.index(min(predicted)))
    assert index == predicted[count]


def test_by_hand() -> None:
    saw = [1.0, 5.0, 2.0, 6.0, 3.0]  # rises of 8, falls of 6: 12; without the 5: 6; without the 6 too: 0
    falls = [0.0, 9.0, 0.0, 9.0]
    assert [calming_count(saw, falls, goal=g, max_group_size=4) for g in (12, 11, 6, 5, 0)] == [
        *((0, 12.0), (1, 6.0), (1, 6.0), (2, 0.0), (2, 0.0)),
    ]
    # The second fall is no candidate, and so 0 is out of reach.
    assert calming_count(saw, [0.0, 9.0, 0.0, 0.0], goal=0, max_group_size=4) == (1, 6.0)
    # What does not calm is not merged: there is no turn at 3.
    assert calming_count([1.0, 3.0, 4.0, 2.0], [0.0, 1.0, 0.0], goal=0, max_group_size=4) == (0, 4.0)
    assert calming_count([1.0, 4.0, 3.0, 2.0], [0.0, 0.0, 1.0], goal=0, max_group_size=4) == (0, 4.0)
