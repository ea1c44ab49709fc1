"""The one list of metrics: what is added to it appears everywhere."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from mrecg.report import load_run, terminal_table
from mrecg.report.page.document import document
from mrecg.report.page.light import render_light
from mrecg.report.tables import columns, comparison_rows
from mrecg.runs import metrics
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
    assert list(columns())[8:] == ["top1_fp", "top1", "index", "peak", "loss_index", "seconds", "size"]
    assert [*named("configurations")] == ["KL to FP", "Index", "Peak", "Time", "Size"]
    assert [*named("runs")] == ["Top-1", "Top-5", "KL to FP", "Index", "Peak", "Time", "Memory"]
    folder = folders.write_run(tmp_path / "run", bits=(2, 4), seconds=80.0)
    summary = json.loads((folder / "summary.json").read_text())
    (row,) = comparison_rows([load_run(folder)])
    shown = [row.cells[key].text for key in list(columns())[8:]]
    oscillation = summary["oscillation"]
    assert shown == [
        *("98.10 %", f"{100 * summary['quantized']['top1']:.2f} %"),
        *(f"{oscillation['error_index']:.3f}", f"{oscillation['error_peak']:.3f}"),
        *(f"{oscillation['loss_index']:.3g}", "88.8", "142 kB"),
    ]
    assert row.cells["size"].note == "1.65 MB in floating point"
    assert row.cells["seconds"].note.startswith("plan 1.5 s, calibrate 3.2 s")
    assert flat_summary(summary) == {
        "status": "completed",
        **{f"seconds_{stage}": seconds for stage, seconds in summary["timing_s"].items()},
        **{f"oscillation_{key}": value for key, value in oscillation.items()},
        **{"top1": summary["quantized"]["top1"], "top1_fp": 0.981, "top5": 0.99, "top5_fp": 0.999},
        "top1_difference": summary["quantized"]["top1"] - 0.981,
        "top5_difference": 0.99 - 0.999,
        **{"seconds": 88.75, "size_bytes": 142_000, "size_bytes_fp": 1_650_000},
        **{"peak_memory_mb": 900, "evaluation_images": 4488},
    }


def test_names_are_told_apart() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    for place in ("table", "terminal", "page", "configurations", "runs", "wandb"):
        names = [name for metric in METRICS if (name := metric.name(place)) is not None]
        assert len(set(names)) == len(names)
