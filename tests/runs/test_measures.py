"""Measures of the errors along the units: what they must be whatever the curve."""

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrecg.report import load_run
from mrecg.runs.measures import against_block, head_error, regrowth
from mrecg.runs.metrics import METRICS

ERRORS = st.lists(st.floats(0, 1e3), min_size=1, max_size=30)
LOGITS = st.floats(0, 1e3)
EXACT = st.lists(st.integers(0, 1000), min_size=2, max_size=30)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.5], 0.0),
        ([0.5, 0.75], 0.0),
        ([0.25, 0.5, 9.0], 0.0),  # the classifier's own rise does not count
        ([0.5, 0.25, 9.0], 0.0),
        ([0.75, 0.25, 0.5, 0.0], 0.25),
        ([0.25, 0.75, 0.5, 0.25, 0.0], 0.0),
        ([1.0, 0.25, 0.5, 0.25, 0.75, 0.0], 0.75),
        ([1.0, 0.0, 1.0, 0.0], 1.0),  # it has grown back whole
    ],
)
def test_regrowth_of_known_curves(errors: list[float], expected: float) -> None:
    assert regrowth(errors) == expected


@given(ERRORS, LOGITS, LOGITS)
def test_the_classifier_is_left_out(errors: list[float], one: float, other: float) -> None:
    assert regrowth([*errors, one]) == regrowth([*errors, other]) >= 0
    assert head_error([*errors, one]) == errors[-1]


@given(ERRORS)
def test_what_only_rises_or_only_falls_does_not_grow_back(errors: list[float]) -> None:
    assert regrowth(sorted(errors)) == regrowth([*sorted(errors, reverse=True), 0.0]) == 0


@given(EXACT, st.integers(0, 12))
def test_it_is_measured_in_the_unit_of_the_errors(errors: list[int], power: int) -> None:
    scaled = [2.0**power * error for error in errors]
    assert regrowth(scaled) == 2.0**power * regrowth(errors)
    assert head_error(scaled) == 2.0**power * head_error(errors)


@given(EXACT)
def test_it_is_at_least_what_the_end_lies_above_the_lowest_point(errors: list[int]) -> None:
    body = errors[:-1]
    tail = body[body.index(max(body)) :]
    assert regrowth(errors) >= max(0, tail[-1] - min(tail))
    assert regrowth(errors) <= sum(tail[1:])


@given(EXACT, EXACT)
def test_what_comes_before_the_peak_does_not_count(errors: list[int], before: list[int]) -> None:
    peak = max(errors) + 1
    assert regrowth([*[min(one, peak - 1) for one in before], peak, *errors]) == regrowth([peak, *errors])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_measure(wrong: float) -> None:
    assert math.isnan(regrowth([0.1, wrong, 0.3, 0.2])) and math.isnan(head_error([0.1, wrong, 0.2]))
    assert math.isnan(head_error([wrong]))
    assert regrowth([0.5, 0.25, 0.5, wrong]) == 0.25  # the logits alone have overflowed
    assert head_error([0.5, 0.25, wrong]) == 0.25
    assert all(map(math.isnan, (regrowth([]), head_error([]))))
    assert all(map(math.isnan, against_block([1.0, wrong, 1.0], [wrong, 1.0, 0.0])))


@given(ERRORS)
def test_a_run_is_no_better_and_no_worse_than_itself(errors: list[float]) -> None:
    found = against_block(errors, errors)
    assert all(
        change == 0 if error else math.isnan(change) for error, change in zip(errors, found, strict=True)
    )
    with pytest.raises(ValueError, match="shorter"):
        against_block([*errors, 1.0], errors)


def test_old_run_folders_have_the_measures(tmp_path: Path, folders: SimpleNamespace) -> None:
    folder = folders.write_run(tmp_path / "run", merged=folders.merged)
    assert not {"regrowth", "head_error"} & json.loads((folder / "summary.json").read_text()).keys()
    run = load_run(folder)
    values = {metric.key: metric.value(run) for metric in METRICS}
    body = [unit.error for unit in run.units[:-1]]
    after = body[body.index(max(body)) :]
    assert values["head_error"] == body[-1]
    assert values["regrowth"] == pytest.approx(sum(b - a for a, b in pairwise(after) if b > a))
