"""What the page is told of weights and activations at the ends of their grids."""

import pytest
from run_folders import UNITS, write_run

from mrecg.report import load_run
from mrecg.report.page.ranges import activation_ranges, weight_ranges

GOOD = {"bits": [2, 8], "at_ends": 0.5123456, "clipped": 0.01}


def ranges(tmp_path, found):
    return weight_ranges(load_run(write_run(tmp_path / "run", summary_extra={"weight_ranges": found})))


def test_units_are_in_their_order(tmp_path):
    found = ranges(tmp_path, {UNITS[2]: GOOD, UNITS[0]: {**GOOD, "clipped": 0}, "another": GOOD})
    assert found[2] == {"bits": [2, 8], "at_ends": 0.5123, "clipped": 0.01}
    assert found[0]["clipped"] == 0 and found[1] is None and len(found) == len(UNITS)


def test_an_old_run_has_none(tmp_path):
    assert weight_ranges(load_run(write_run(tmp_path / "old"))) == ranges(tmp_path, None) == []


@pytest.mark.parametrize(
    "wrong",
    [5, None, [], {}, {**GOOD, "bits": []}, {**GOOD, "bits": ["x"]}, {**GOOD, "bits": 2}]
    + [{**GOOD, "at_ends": value} for value in (-1, 2, "much", None, float("nan"))],
)
def test_what_is_damaged_is_left_out(tmp_path, wrong):
    found = ranges(tmp_path, {UNITS[0]: wrong, UNITS[1]: GOOD})
    assert found[0] is None and found[1] is not None


@pytest.mark.parametrize("wrong", [5, "text", [1]])
def test_what_is_no_table_is_as_if_it_were_not_there(tmp_path, wrong):
    assert ranges(tmp_path, wrong) == []


ACTIVE = {"bits": [4], "at_bottom": 0.5, "at_top": 0.0123456, "clipped_bottom": 0, "clipped_top": 0.001}


def test_activations_are_told_likewise(tmp_path):
    wrong = {key: {**ACTIVE, key: 2} for key in ACTIVE if key != "bits"}
    found = {UNITS[1]: ACTIVE, **dict(zip(UNITS[2:], wrong.values(), strict=False))}
    run = load_run(write_run(tmp_path / "run", summary_extra={"activation_ranges": found}))
    told = activation_ranges(run)
    assert told[1] == {**ACTIVE, "at_top": 0.01235}
    assert [i for i, one in enumerate(told) if one] == [1] and len(told) == len(UNITS)
    assert weight_ranges(run) == activation_ranges(load_run(write_run(tmp_path / "old"))) == []
