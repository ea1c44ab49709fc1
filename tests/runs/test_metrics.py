"""The one list of metrics: what is added to it appears everywhere."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from mrecg.report import load_run, terminal_table
from mrecg.report.page.document import document
from mrecg.report.page.light import render_light
from mrecg.report.tables import columns, comparison_rows
from mrecg.runs import metrics
from mrecg.runs.measures import regrowth
from mrecg.runs.metrics import METRICS, Metric, named
from mrecg.track.wandb_logger.metrics import flat_summary

ENERGY = Metric(
    key="energy",
    title="Energy",
    unit="J",
    better="lower",
    format="count",
    get=lambda run: 2 * run.seed + 1234 if run.completed else None,
)


def printed(runs: list[metrics.RunSummary]) -> str:
    console = Console(width=220)
    with console.capture() as capture:
        console.print(terminal_table(runs))  # type: ignore[arg-type]
    return capture.get()


def test_a_metric_is_added_by_one_entry(
    tmp_path: Path, folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [load_run(folders.write_run(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    runs.append(load_run(folders.write_failed(tmp_path / "2")))
    assert "Energy" not in printed([*runs])
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, ENERGY))
    text = printed([*runs])
    assert "Energy" in text and "1,234" in text and "1,236" in text
    values = json.loads(json.dumps(document(runs, command="", version="")))
    (entry,) = [one for one in values["metrics"] if one["key"] == "energy"]
    assert (entry["runs"], entry["configurations"], entry["better"]) == ("Energy", "Energy", "lower")
    assert sorted(str(run["energy"]) for run in values["runs"]) == ["1234", "1236", "None"]
    light = render_light(runs, [tmp_path])
    assert "<button" not in light and ">Energy<" in light and ">1,236<" in light
    found = flat_summary(json.loads((tmp_path / "1" / "summary.json").read_text()))
    assert found["energy"] == 1236
    assert "energy" not in flat_summary({"status": "failed"})


def test_what_is_shown_is_what_it_always_was(tmp_path: Path, folders: SimpleNamespace) -> None:
    assert list(columns())[9:] == [
        *("top1_fp", "top1", "loss_peak", "head_error", "regrowth", "seconds", "size")
    ]
    new = ["Largest loss", "Error into head", "Grows back"]
    assert [*named("configurations")] == ["KL to FP", *new, "Time", "Size"]
    plain = ["Total up-and-down", "Largest error"]
    assert [*named("runs")] == ["Top-1", "Top-5", "KL to FP", *new, *plain, "Time", "Memory"]
    assert [*named("terminal")][2:] == ["largest\nloss", "error\ninto head", "grows\nback", "time\n(s)"]
    folder = folders.write_run(tmp_path / "run", bits=(2, 4), seconds=80.0)
    summary = json.loads((folder / "summary.json").read_text())
    (row,) = comparison_rows([load_run(folder)])
    shown = [row.cells[key].text for key in list(columns())[9:]]
    oscillation, errors = summary["oscillation"], [unit["error"] for unit in summary["units"]]
    assert shown == [
        *("98.10 %", f"{100 * summary['quantized']['top1']:.2f} %"),
        *(f"{oscillation['loss_peak']:.3g}", f"{errors[-2]:.3f}", f"{regrowth(errors):.3f}"),
        *("88.8", "142 kB"),
    ]
    assert row.cells["size"].note == "1.65 MB in floating point"
    assert row.cells["seconds"].note.startswith("plan 1.5 s, calibrate 3.2 s")
    assert flat_summary(summary) == {
        "status": "completed",
        **{f"seconds_{stage}": seconds for stage, seconds in summary["timing_s"].items()},
        **{f"oscillation_{key}": value for key, value in oscillation.items()},
        **{"oscillation_head_error": errors[-2], "oscillation_regrowth": regrowth(errors)},
        **{"top1": summary["quantized"]["top1"], "top1_fp": 0.981, "top5": 0.99, "top5_fp": 0.999},
        "top1_difference": summary["quantized"]["top1"] - 0.981,
        "top5_difference": 0.99 - 0.999,
        **{"seconds": 88.75, "seconds_here": 88.75, "seconds_reused": 0},
        **{"size_bytes": 142_000, "size_bytes_fp": 1_650_000},
        **{"peak_memory_mb": 900, "evaluation_images": 4488},
    }


def test_names_are_told_apart() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    for place in ("table", "terminal", "page", "configurations", "runs", "wandb"):
        names = [name for metric in METRICS if (name := metric.name(place)) is not None]
        assert len(set(names)) == len(names)


def test_times_include_what_other_runs_had_spent(tmp_path: Path, folders: SimpleNamespace) -> None:
    reused = {"plan": 30.0, "calibrate": 10.0, "reconstruct": 5.0, "finish": 2.0}
    folder = folders.write_run(tmp_path / "run", seconds=80.0, summary_extra={"reused_s": reused})
    summary = json.loads((folder / "summary.json").read_text())
    found = flat_summary(summary)
    assert (found["seconds"], found["seconds_here"], found["seconds_reused"]) == (135.75, 88.75, 47.0)
    own = summary["timing_s"]
    stages = {key: value for key, value in found.items() if key.removeprefix("seconds_") in own}
    assert stages == {f"seconds_{key}": value + reused.get(key, 0.0) for key, value in own.items()}
    assert sum(stages.values()) + found["seconds_finish"] == found["seconds"]
    run = load_run(folder)
    (row,) = comparison_rows([run])
    assert run.total_seconds == found["seconds"] and row.cells["seconds"].text == "135.8"


def test_what_says_nothing_of_quality_calls_no_run_better() -> None:
    better = {metric.key: metric.better for metric in METRICS}
    assert [better[key] for key in ("index", "peak", "loss_index")] == [None, None, None]
    assert [better[key] for key in ("loss_peak", "head_error", "regrowth")] == ["lower"] * 3
    headlines = {key for place in ("table", "terminal", "configurations") for key in named(place)}
    assert not {name for name in headlines if "up-and-down" in name.lower() or "index" in name.lower()}


def test_a_run_without_units_has_no_measures_of_them() -> None:
    assert not {"oscillation_head_error", "oscillation_regrowth"} & flat_summary({"status": "failed"}).keys()


@pytest.mark.parametrize("at", [0, 5, 8])
def test_an_error_that_is_not_finite_is_no_measure(at: int, tmp_path: Path, folders: SimpleNamespace) -> None:
    folder = folders.write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["units"][at]["error"] = math.nan
    (folder / "summary.json").write_text(json.dumps(summary))
    run = load_run(folder)
    values = {metric.key: metric.value(run) for metric in METRICS}
    body = [unit["error"] for unit in summary["units"]]
    assert values["regrowth"] is None
    assert values["head_error"] == body[-2]
    assert "nan" not in printed([run])
