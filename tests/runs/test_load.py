"""Finding run folders, and what is said about broken ones."""

import json
import math

import pytest

from mrecg.errors import DataError
from mrecg.report import find_runs, load_run


def test_runs_are_found_at_any_depth_once_and_in_natural_order(tmp_path, folders):
    for name in ("10", "2", "1"):
        folders.write_run(tmp_path / "sweep" / "12-00" / name)
    found = find_runs([tmp_path, tmp_path / "sweep" / "12-00" / "2"])
    assert [path.name for path in found] == ["1", "2", "10"]


def test_a_run_folder_itself_is_found(tmp_path, folders):
    run = folders.write_run(tmp_path / "run")
    assert find_runs([run]) == [run]


def test_a_folder_without_runs_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no run in it"):
        find_runs([tmp_path / "empty"])


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_a_run_is_read_whole(tmp_path, folders):
    run = load_run(
        folders.write_run(tmp_path / "run", name="mine", merged=folders.merged, method="brecq", seed=3)
    )
    assert (run.name, run.method, run.granularity, run.planner, run.seed) == (
        "mine",
        "brecq",
        "mixed",
        "error",
        3,
    )
    assert run.completed
    assert run.unit_names == folders.units
    assert run.merged == folders.merged
    assert run.widths == "W2A4"
    assert run.total_seconds == pytest.approx(1.5 + 3.25 + 83 + 4)
    assert run.plan is not None
    assert run.plan.groups == run.groups
    assert {curve.stage for curve in run.curves} == {"", "scales"}
    assert [curve.group for curve in run.curves if not curve.stage] == [
        "+".join(group) for group in run.groups
    ]
    first = run.curves[0]
    assert first.steps[:2] == (0.0, 10.0)
    assert all(loss > 0 for loss in first.losses)
    assert run.environment["torch"] == "2.11.0"
    assert "name: mine" in run.config


def test_a_run_without_evaluation_or_optimisation_is_read(tmp_path, folders):
    run = load_run(folders.write_run(tmp_path / "run", method="rtn", evaluated=False))
    assert run.fp is None
    assert run.quantized is None
    assert run.curves == ()


def test_a_diverged_run_has_values_that_are_no_numbers(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["units"][2]["error"] = float("inf")
    summary["units"][3]["error"] = None
    summary["oscillation"]["error_index"] = float("nan")
    (folder / "summary.json").write_text(json.dumps(summary))
    run = load_run(folder)
    assert math.isnan(run.units[2].error)
    assert math.isnan(run.units[3].error)
    assert not math.isnan(run.units[4].error)


def test_a_failed_run_is_kept_with_its_reason(tmp_path, folders):
    run = load_run(folders.write_failed(tmp_path / "run", error="out of memory"))
    assert not run.completed
    assert (run.status, run.error) == ("failed", "out of memory")
    assert run.units == ()
    assert run.plan is None


@pytest.mark.parametrize("key", ["model", "method", "bits", "units", "oscillation", "seed"])
def test_a_missing_key_is_named_with_its_file(tmp_path, folders, key):
    folder = folders.write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    del summary[key]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match=rf"summary\.json: key '{key}' is missing; repeat the run"):
        load_run(folder)


def test_a_key_of_the_wrong_kind_is_named(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run", summary_extra={"oscillation": {"error_index": 1.0}})
    with pytest.raises(DataError, match=r"summary\.json: key 'oscillation' is not as expected"):
        load_run(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "{"),
        ("summary.json", "[]"),
        ("plan.json", "not json"),
        ("plan.json", "{}"),
        ("environment.json", "{"),
        ("curves/features.0.csv", "a,b\n1,2\n"),
        ("curves/features.0.csv", "step,reconstruction\nten,2\n"),
    ],
)
def test_a_broken_file_is_named(tmp_path, folders, name, content):
    folder = folders.write_run(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(DataError) as caught:
        load_run(folder)
    assert str(folder / name) in str(caught.value)
    assert "leave its folder out" in str(caught.value)


def test_a_plan_that_does_not_hold_every_unit_is_named(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    plan = json.loads((folder / "plan.json").read_text())
    plan["groups"].pop()
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(DataError, match=r"plan\.json: the groups do not hold every unit"):
        load_run(folder)


def test_a_completed_run_needs_its_plan(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    (folder / "plan.json").unlink()
    with pytest.raises(DataError, match=r"plan\.json: missing"):
        load_run(folder)
