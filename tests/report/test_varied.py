"""The settings that runs differ in: what was left at its default is there, what says nothing is not."""

from itertools import count

import pytest
from run_folders import MERGED, write_run

from mrecg.report import load_run
from mrecg.report.varied import MOST_NAMES, varied


@pytest.fixture
def runs(tmp_path):
    """Make runs of what each has beside the usual."""

    numbers = count()

    def make(*several):
        return [load_run(write_run(tmp_path / str(next(numbers)), **one)) for one in several]

    return make


def options(**values):
    return {"summary_extra": {"options": {key.replace("__", "."): value for key, value in values.items()}}}


def found(settings):
    return {one.key: one.values for one in settings}


def test_a_value_at_its_default_is_known(runs):
    """A run records what is not the default; the default is a value of the search all the same."""
    (setting,) = varied(runs(options(method__lr_rounding=0.01), {}, options(method__lr_rounding=3e-4)))
    assert (setting.key, setting.title, setting.ordered) == ("method.lr_rounding", "lr_rounding", True)
    assert setting.values == (0.01, 0.001, 3e-4) and setting.names == ()


@pytest.mark.parametrize(
    ("key", "other", "default"),
    [
        ("bits.input", 8, 32.0),
        ("calibration.norm", 2.0, 2.4),
        ("trainer.lr_factor", 10.0, 1.0),
        ("method.keep_probability", 1.0, 0.5),
    ],
)
def test_defaults_of_every_group(runs, key, other, default):
    assert found(varied(runs(options(**{key: other}), {}))) == {key: (other, default)}


def test_a_planners_default_is_that_of_runs_that_have_a_planner(runs):
    merging = {"merged": MERGED[:1]}
    three = runs({**merging, **options(planner__held_out=0.2)}, merging, {})
    assert found(varied(three)) == {
        "planner.held_out": (0.2, 0.1, None),
        "planner.merge_count": (1.0, 1.0, 0.0),
    }


def test_switches_have_an_order_and_names_have_none(runs):
    switch, name = varied(
        runs(options(method__learn_biases=True, method__loss="fisher_diag"), {}, options(method__loss="mse"))
    )
    assert (switch.values, switch.names, switch.ordered) == (("on", "off", "off"), ("off", "on"), True)
    assert (name.values, name.ordered) == (("fisher_diag", "mse", "mse"), False)


def test_numbers_come_before_names(runs):
    (setting,) = varied(runs(*(options(trainer__lr_factor=value) for value in ("auto", 10, 5))))
    assert setting.names == ("5", "10", "auto") and not setting.ordered


def test_where_no_default_is_known_the_value_is_missing(runs):
    """Lambda's default depends on the network, and a method from elsewhere has not said what its are."""
    assert found(varied(runs(options(method__regulariser=0.1), options(method__regulariser=0.2), {}))) == {
        "method.regulariser": (0.1, 0.2, None)
    }
    strange = [{"method": "of_a_plugin", **options(method__depth=depth)} for depth in (1, 2)]
    assert found(varied(runs(*strange, {"method": "of_a_plugin"}))) == {"method.depth": (1.0, 2.0, None)}


def test_what_a_summary_has_a_key_for(runs):
    two = runs(
        {"bits": (2, 4), "method": "brecq", "merged": MERGED, "summary_extra": {"steps": 100}},
        {"bits": (3, 8), "method": "qdrop", "summary_extra": {"batch_size": 32, "calibration_images": 1024}},
    )
    assert found(varied(two)) == {
        "method": ("brecq", "qdrop"),
        "bits.activation": (4.0, 8.0),
        "bits.weight": (2.0, 3.0),
        "data.calibration_images": (512.0, 1024.0),
        "planner.merge_count": (4.0, 0.0),
        "trainer.steps": (100.0, 200.0),
    }


def test_seeds_are_no_setting_and_neither_are_many_names(runs):
    assert varied(runs({"seed": 0}, {"seed": 1})) == []
    paths = [options(planner__schedule=f"/some/where/{i}.json") for i in range(MOST_NAMES + 1)]
    assert varied(runs(*paths)) == []


def test_equal_short_names_are_written_in_full(runs):
    both = varied(runs(options(finish="joint", finish__steps=10), options(finish="joint", finish__steps=20)))
    assert [one.title for one in both] == ["steps"]
    three = varied(
        runs(
            {"summary_extra": {"steps": 100, "options": {"finish": "joint", "finish.steps": 10}}},
            {"summary_extra": {"options": {"finish": "joint", "finish.steps": 20}}},
        )
    )
    assert [one.title for one in three] == ["finish.steps", "trainer.steps"]


def test_a_stage_that_is_off_has_no_settings(runs):
    found_here = found(varied(runs(options(finish="joint", finish__steps=10), {})))
    assert found_here == {"finish": ("joint", "none")}
    with_both = runs(options(finish="joint", finish__steps=1), options(finish="x", finish__steps=2), {})
    assert found(varied(with_both))["finish.steps"] == (1.0, 2.0, None)


def test_runs_that_do_not_differ(runs):
    assert varied([]) == [] and varied(runs({}, {})) == []
    assert varied(runs(options(method__x=1), options(method__x="1.0"))) == []
