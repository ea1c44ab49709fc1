"""What the page is told: ids that fit together, numbers that JSON can hold, and nothing lost."""

import json
import math
import re

import pytest

from mrecg.planner.schedule import Criterion, Merge, Plan
from mrecg.report import decisions, find_runs, load_run
from mrecg.report.page.curves import ALL_POINTS_RUNS, LEAST_POINTS, MOST_POINTS, curves, significant
from mrecg.report.page.document import document
from mrecg.report.page.templating import asset
from mrecg.report.page.write import SCRIPTS
from mrecg.report.reasons import reason


def describe(*folders):
    runs = [load_run(path) for path in find_runs(folders)]
    return runs, document(runs, command="mrecg report runs", version="1.2.3")


def test_everything_that_is_named_is_there(runs_root):
    runs, found = describe(runs_root)
    json.dumps(found, allow_nan=False)
    assert len(found["runs"]) == len(runs) == 9 and found["version"] == "1.2.3"
    networks, configurations, ids, plans = (
        {one["id"]: one for one in found[key]} for key in ("networks", "configurations", "runs", "plans")
    )
    assert len(networks) == 1 and len(configurations) == 4
    for run in ids.values():
        if run["status"] != "completed":
            assert run["configuration"] is None and run["plan"] is None and run["errors"] == []
            continue
        configuration = configurations[run["configuration"]]
        units = networks[configuration["network"]]["units"]
        assert len(run["errors"]) == len(run["losses"]) == len(units)
        assert [i for group in run["groups"] for i in group] == list(range(len(units)))
        assert plans[run["plan"]]["groups"] == run["groups"]
        assert run["configuration"] in plans[run["plan"]]["configurations"]
        if configuration["granularity"] == "block":
            assert configuration["baseline"] is None and run["to_baseline"] is None
        else:
            baseline = configurations[configuration["baseline"]]
            assert (baseline["method"], baseline["granularity"]) == (configuration["method"], "block")
            other = ids[run["to_baseline"]["run"]]
            assert other["seed"] == run["seed"] and other["configuration"] == baseline["id"]
            assert run["to_baseline"]["change"] == pytest.approx(run["top1"] - other["top1"])
            assert run["to_baseline"]["paired"] is False
    assert {run["status"] for run in ids.values()} == {"completed", "failed"}


def test_numbers_are_those_of_the_folders(runs_root):
    runs, found = describe(runs_root)
    by_folder = {run["folder"]: run for run in found["runs"]}
    for run in runs:
        values = by_folder[str(run.path)]
        if not run.completed:
            assert values["error"] == run.error
            continue
        assert values["top1"] == run.quantized.top1 and values["fp_top1"] == run.fp.top1
        assert values["error_index"] == pytest.approx(run.oscillation.error_index, rel=1e-6)
        assert values["errors"] == pytest.approx([unit.error for unit in run.units], rel=1e-4)
        assert (
            values["total_seconds"] == pytest.approx(run.total_seconds)
            and values["size"] == run.size_quantized
        )
        expected = math.sqrt(values["top1"] * (1 - values["top1"]) / run.evaluation_images)
        assert values["standard_error"] == pytest.approx(expected)


def test_paired_where_both_kept_their_decisions(tmp_path, folders):
    images = {"evaluation_images": 4, "evaluation": {"sha256": "s"}}
    for name, granularity, low in (("a", {}, "0 1 0 1"), ("b", {"merged": folders.merged}, "0 0 0 1")):
        decided = [int(value) for value in low.split()]
        right = sum(decision == 0 for decision in decided) / 4
        accuracies = {"fp": {"top1": 1.0, "top5": 1.0}, "quantized": {"top1": right, "top5": 1.0}}
        folder = folders.write_run(
            tmp_path / name, name=name, **granularity, summary_extra=images | accuracies
        )
        rows = "".join(f"0,0,{decision}\n" for decision in decided)
        (folder / "decisions.csv").write_text("label,fp,quantized\n" + rows)
    _, found = describe(tmp_path)
    block, merged = found["runs"]
    assert merged["to_baseline"] == {
        "run": block["id"], "change": 0.25, "standard_error": 0.25, "images": 4, "paired": True
    }  # fmt: skip
    assert block["to_fp"]["change"] == -0.5 and block["decisions"]["only_fp_right"] == 2


def test_curves_fit_however_many_there_are(runs_root, folders):
    runs = [load_run(path) for path in find_runs([runs_root])]
    found = curves(runs)
    json.dumps(found, allow_nan=False)
    assert set(found) == {f"r{i}" for i in range(9)}
    assert [curve["group"] for curve in found["r0"] if not curve["stage"]] == [
        [i] for i in range(len(folders.units))
    ]
    for curve in found["r0"]:
        assert len(curve["step"]) == len(curve["reconstruction"]) <= MOST_POINTS
    (many,) = (curves(runs * ALL_POINTS_RUNS)[key] for key in ("r0",))
    assert all(len(curve["step"]) <= LEAST_POINTS for curve in many)
    # A thinned curve keeps its mean.
    curve = next(c for c in runs[0].curves if c.group == folders.units[0])
    thin = next(c for c in found["r0"] if c["group"] == [0])
    share = len(curve.losses) / len(thin["reconstruction"])
    if share == int(share):
        mean = sum(thin["reconstruction"]) / len(thin["reconstruction"])
        assert mean == pytest.approx(sum(curve.losses) / len(curve.losses), rel=1e-3)


def test_numbers_that_are_none(tmp_path):
    assert significant(math.nan) is None and significant(math.inf) is None and significant(None) is None
    assert significant(123456.789, 3) == 123000.0


def test_configurations_differ_where_their_runs_do(runs_root):
    _, found = describe(runs_root)
    different = {row["key"]: row["values"] for row in found["provenance"]["different"]}
    assert set(different["seed"].values()) == {"0", "1"} and "method.name" in different
    assert all(len(set(values.values())) > 1 for values in different.values())
    named = {run for group in found["provenance"]["environments"] for run in group["runs"]}
    assert named == {run["id"] for run in found["runs"] if run["status"] == "completed"}


@pytest.mark.parametrize(
    ("name", "difference", "capacities", "differences", "words"),
    [
        ("modcap", "squared", (100.0, 300.0, 1.0), (4e4, 89401.0), "ModCap rises from 100 to 300 (rank 2"),
        ("loss", "fall", (300.0, 100.0, 1.0), (4e4, 1.0), "probe's loss falls from 300 to 100 (rank 1"),
        ("budget", "gain", (0.3, 0.1, 1.0), (0.12, 0.5), "merging takes 12 % off the final diff"),
        ("budget", "gain", (0.3, 0.1, 1.0), (-0.12, 0.5), "merging adds 12 % to the final difference"),
    ],
)  # fmt: skip
def test_reasons_are_said(name, difference, capacities, differences, words):
    merge = Merge(
        left="a", right="b", left_capacity=capacities[0], right_capacity=capacities[1],
        difference=differences[0], not_comparable="stride",
    )  # fmt: skip
    criterion = Criterion(name=name, difference=difference, capacities=capacities, differences=differences)
    plan = Plan(
        granularity="mixed", planner=name, merge_count=1, units=("a", "b", "c"), groups=(("a", "b"), ("c",)),
        merges=(merge,), criteria=(criterion,),
    )  # fmt: skip
    said = reason(plan, merge)
    assert words in said and said.endswith("; the two differ in stride")


def test_a_given_schedule_is_its_own_reason(folders):
    merge = Merge(
        left="a", right="b", left_capacity=None, right_capacity=None, difference=None, not_comparable=""
    )
    plan = Plan(granularity="fixed", units=("a", "b"), groups=(("a", "b"),), merges=(merge,))
    assert reason(plan, merge) == "given by the fixed schedule"


def test_the_decisions_of_a_run_are_read_once_for_a_page(tmp_path, folders, monkeypatch):
    for seed in range(6):
        for name, merged in (("b", ()), ("m", folders.merged[:1]), ("n", folders.merged)):
            folders.write_run(tmp_path / f"{name}{seed}", seed=seed, merged=merged, kept=20)
    read = []
    real = decisions.read_decisions
    monkeypatch.setattr(
        decisions, "read_decisions", lambda run, **more: read.append(run.path.name) or real(run, **more)
    )
    _, found = describe(tmp_path)
    assert len(found["comparisons"]) == 2 and len(read) == len(set(read)) == 18


def test_a_repeated_run_is_compared_with_the_newest_of_its_seed(tmp_path, folders):
    for name, merged in (("1b", ()), ("2b", ()), ("1m", folders.merged), ("2m", folders.merged)):
        folders.write_run(tmp_path / name, name=name, merged=merged)
    _, found = describe(tmp_path)
    names = {run["id"]: run["name"] for run in found["runs"]}
    assert {names[r["to_baseline"]["run"]] for r in found["runs"] if r["to_baseline"]} == {"2b"}
    (one,) = found["comparisons"]
    assert [names[run] for side in ("before", "after") for run in one[side]] == ["2b", "2m"]


def test_the_page_is_sent_what_it_reads(runs_root):
    """A key that no script names is sent for nothing."""
    _, found = describe(runs_root)
    scripts = "".join(asset(f"js/{name}.js") for name in SCRIPTS)
    sent = {*found["runs"][0], *found["configurations"][0]} | {column["key"] for column in found["metrics"]}
    columns = {column["key"] for column in found["metrics"] if column["runs"] or column["configurations"]}
    assert {key for key in sent - columns if not re.search(rf"\b{key}\b", scripts)} == set()
