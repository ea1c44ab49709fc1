"""Many runs: the numbers of all, the rest of those that are drawn, and nothing left out in silence."""

import base64
import gzip
import json
import math
import re

import pytest
from rich.console import Console

from mrecg.cli.report import compare
from mrecg.errors import DataError
from mrecg.report import find_runs, load_run, terminal_table, write_report
from mrecg.report.gather import choose, left_out, load_runs

ALL, MOST = 20, 8


@pytest.fixture
def many(tmp_path, folders, monkeypatch):
    """Two bit widths, three merge counts, four seeds, and a failed run; more than are read whole."""
    monkeypatch.setattr("mrecg.report.gather.ALL_DETAILED", ALL)
    monkeypatch.setattr("mrecg.report.gather.MOST_DETAILED", MOST)
    number = 0
    for bits in ((2, 4), (4, 4)):
        for merges in (0, 1, 3):
            for seed in range(4):
                folders.write_run(
                    tmp_path / "runs" / str(number),
                    name=f"run {number}",
                    bits=bits,
                    merged=folders.merged[:merges],
                    seed=seed,
                    kept=200,
                )
                number += 1
    folders.write_failed(tmp_path / "runs" / "failed", error="out of memory")
    return tmp_path / "runs"


def block(page, name):
    packed = re.search(rf'id="{name}-data">([A-Za-z0-9+/=]*)<', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_few_runs_are_read_whole(runs_root):
    runs = load_runs(find_runs([runs_root]))
    assert all(run.detailed for run in runs) and left_out(runs) == ""


def test_many_runs_have_their_numbers_and_some_are_read_whole(many):
    runs = load_runs(find_runs([many]))
    whole = [load_run(run.path) for run in runs]
    assert sum(run.detailed for run in runs) == MOST
    for run, one in zip(runs, whole, strict=True):
        assert (run.name, run.units, run.groups, run.merge_count) == (
            one.name,
            one.units,
            one.groups,
            one.merge_count,
        )
        assert (run.quantized, run.oscillation, run.seconds) == (one.quantized, one.oscillation, one.seconds)
        assert (run.plan == one.plan) and (run.curves == one.curves) if run.detailed else not run.curves


def test_every_panel_has_its_best_and_their_baseline(many):
    chosen = choose(load_runs(find_runs([many])), MOST)
    assert len(chosen) == len({run.path for run in chosen}) == MOST
    for bits in ("W2A4", "W4A4"):
        own = [run for run in chosen if run.widths == bits]
        assert len(own) == MOST // 2
        assert {run.granularity for run in own} == {"block", "mixed"}
    assert all(run.completed for run in chosen)


def test_choosing_more_than_there_are_gives_all_that_completed(many):
    runs = load_runs(find_runs([many]))
    first = {run.path for run in choose(runs, 1000)}
    assert first <= {run.path for run in runs if run.completed}


def test_the_page_has_all_numbers_and_says_what_it_lacks(many, tmp_path):
    page = write_report([many], tmp_path / "report.html").read_text()
    document, curves = block(page, "document"), block(page, "curves")
    assert len(document["runs"]) == 25 and "25 runs" in page and "1 not completed" in page
    assert "All 25 runs are here with their numbers." in page and f"kept for {MOST} of them" in page
    detailed = {run["id"] for run in document["runs"] if run["detailed"]}
    assert set(curves) == detailed and len(detailed) == MOST
    assert {run["id"] for run in document["runs"] if run["decisions"]} == detailed
    assert {run["id"] for run in document["runs"] if run["plan"]} == detailed
    for run in document["runs"]:
        if run["status"] == "completed":
            assert len(run["errors"]) == 20 and run["top1"] and run["to_fp"]
    assert document["networks"][0]["described"]


def test_an_old_summary_without_groups_is_read_with_its_plan(many):
    file = many / "0" / "summary.json"
    summary = json.loads(file.read_text())
    del summary["groups"], summary["merge_count"]
    file.write_text(json.dumps(summary))
    run = next(run for run in load_runs(find_runs([many])) if run.path.name == "0")
    assert len(run.groups) == 20


def test_a_broken_summary_among_many_is_named(many):
    (many / "7" / "summary.json").write_text("{")
    with pytest.raises(DataError, match=r"7/summary\.json"):
        load_runs(find_runs([many]))


def printed(table):
    console = Console(width=200, file=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_terminal_gets_the_best_and_a_count(many, monkeypatch):
    monkeypatch.setattr("mrecg.report.terminal.MOST_ROWS", 6)
    runs = load_runs(find_runs([many]))
    short, long = printed(terminal_table(runs)), printed(terminal_table(runs, every=True))
    assert "the most accurate 6 of 25 runs: --all prints all; 1 did not complete" in short
    assert len(re.findall(r"run \d+", short)) == 6
    assert len(re.findall(r"run \d+", long)) == 24 and "--all" not in long
    for bits in ("W2A4", "W4A4"):
        best = max(
            (run for run in runs if run.completed and run.widths == bits), key=lambda run: run.quantized.top1
        )
        assert best.name in short


def test_what_lies_in_a_run_folder_is_not_looked_at(tmp_path, folders):
    run = folders.write_run(tmp_path / "runs" / "0")
    folders.write_failed(run / "wandb" / "inner")
    assert find_runs([tmp_path]) == [run]


def test_a_run_that_is_named_twice_is_one(tmp_path, folders):
    run = folders.write_run(tmp_path / "runs" / "0")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "runs")
    assert len(find_runs([tmp_path / "runs", run, link])) == 1


@pytest.mark.parametrize("limit", [ALL, 500])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("summary.json", lambda text: text[:50]),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "timing_s": {"plan": 1e308}})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "timing_s": {"plan": math.nan}})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "quantized": {"top1": 7, "top5": 1}})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "fp": {"top1": math.inf}})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "quantized": {"top1": -0.1}})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "evaluation_images": -3})),
        ("summary.json", lambda text: json.dumps({**json.loads(text), "seed": 1e300})),
        ("plan.json", lambda text: "{}"),
        ("decisions.csv", lambda text: "label,fp,quantized\n1,2\n"),
    ],
)
def test_a_broken_run_is_left_out_and_the_report_of_the_others_is_written(
    name, change, limit, many, monkeypatch, capsys
):
    if limit == ALL and name != "summary.json":
        pytest.skip("of many runs only some are read whole")
    monkeypatch.setattr("mrecg.report.gather.ALL_DETAILED", limit)
    file = many / "3" / name
    file.write_text(change(file.read_text() if file.exists() else ""))
    compare([many], many / "report.html")
    _, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith(f"mrecg: left out: {file}: ")
    page = (many / "report.html").read_text()
    names = {run["name"] for run in block(page, "document")["runs"]}
    assert "run 3" not in names and len(names) == 24
    with pytest.raises(DataError, match=name):
        compare([many / "3"], many / "report.html")


@pytest.mark.parametrize("key", ["error_index", "error_peak", "loss_index", "loss_peak"])
@pytest.mark.parametrize("value", [1e308, -1e308, math.nan, math.inf])
def test_numbers_beyond_all_bounds_leave_a_page(key, value, many):
    file = many / "3" / "summary.json"
    summary = json.loads(file.read_text())
    summary["oscillation"][key] = value
    summary["units"][0]["error"] = summary["units"][1]["loss"] = value
    summary["run_name"] = "odd \ud800 \x1b]0;x\x07 \x00"
    file.write_text(json.dumps(summary))
    compare([many], many / "report.html", every=True)
    page = (many / "report.html").read_text()
    assert len(block(page, "document")["runs"]) == 25


def test_the_second_pass_has_any_name(tmp_path, folders):
    folders.write_run(tmp_path / "run", name="a")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    groups = ["+".join(group) for group in summary["groups"]]
    (tmp_path / "run" / "curves").mkdir(exist_ok=True)
    for name in groups:
        for task in ("rounding", "polish"):
            (tmp_path / "run" / "curves" / f"{name}.{task}.csv").unlink(missing_ok=True)
        (tmp_path / "run" / "curves" / f"{name}.csv").write_text("step,reconstruction\n0,1.0\n")
        (tmp_path / "run" / "curves" / f"{name}.polish.csv").write_text("step,reconstruction\n0,0.5\n")
    summary["group_results"] = [
        {"name": name, "pass": task, "floor": None} for task in ("rounding", "polish") for name in groups
    ]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    curves = load_run(tmp_path / "run").curves
    assert {curve.stage for curve in curves} == {"", "polish"} and len(curves) == 2 * len(groups)
