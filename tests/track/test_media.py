"""Tables and pictures of a run at W&B, read back from what it leaves offline."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun, read_run

from mrecg.pipeline.result import Result
from mrecg.track.wandb_logger import media
from mrecg.track.wandb_logger.wandb_run import WandbRun

Finished = tuple[Path, Result]


def rows_of(folder: Path, name: str) -> dict[str, Any]:
    """A table as W&B would upload it."""
    (run,) = folder.glob("wandb/offline-run-*")
    (path,) = [row[f"{name}.path"] for row in read_run(folder).history if f"{name}.path" in row]
    found: dict[str, Any] = json.loads((run / "files" / path).read_text())
    return found


def test_the_table_of_units_is_the_summary(finished: Finished) -> None:
    folder, result = finished
    table = rows_of(folder, media.UNITS)
    assert table["columns"] == list(media.COLUMNS[media.UNITS])
    summary = json.loads((folder / "summary.json").read_text())
    merged = {name for group in result.plan.merged for name in group}
    last = {group[-1]: group for group in result.plan.groups}
    tasks = {group["name"]: group for group in summary["group_results"]}  # the last pass of each
    for row, unit in zip(table["data"], summary["units"], strict=True):
        name, _, is_merged, error, loss, floor, block = row
        assert (name, error, loss, is_merged) == (unit["name"], unit["error"], unit["loss"], name in merged)
        assert floor == (tasks["+".join(last[name])]["floor"] if name in last else None)
        assert block is None  # no block-wise run of these settings is known


def test_the_table_of_decisions_has_the_changed_images_only(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "run", ignore=shutil.ignore_patterns("wandb"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    count = summary["evaluation_images"]
    assert count >= 5
    rows = [(0, 0, 0), (0, 0, 1), (1, 2, 1), (2, 0, 1), *[(1, 1, 1)] * (count - 4)]
    text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
    (tmp_path / "run" / "decisions.csv").write_text(f"label,fp,quantized\n{text}")
    found = media.tables(tmp_path / "run", summary)[media.DECISIONS]
    assert [(row[0], row[-1]) for row in found] == [(1, "lost"), (2, "won"), (3, "still wrong")]
    (tmp_path / "run" / "decisions.csv").unlink()
    assert media.DECISIONS not in media.tables(tmp_path / "run", summary)


def test_pictures_of_plan_and_curves_are_there(finished: Finished, read: OfflineRun) -> None:
    (run,) = finished[0].glob("wandb/offline-run-*")
    (row,) = [row for row in read.history if f"{media.PLAN}.path" in row]
    for name in (media.PLAN, media.CURVES):
        file = run / "files" / row[f"{name}.path"]
        assert file.read_bytes()[:4] == b"\x89PNG" and row[f"{name}.width"] > 300


def test_pictures_do_not_read_the_curves(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "run", ignore=shutil.ignore_patterns("wandb"))
    for file in (tmp_path / "run" / "curves").iterdir():
        file.write_text("not a curve")
    assert set(media.pictures(tmp_path / "run", tmp_path)) == {media.PLAN, media.CURVES}
    (tmp_path / "run" / "plan.json").unlink()
    assert set(media.pictures(tmp_path / "run", tmp_path)) == {media.CURVES}


def test_what_merges_are_compared_with_is_in_the_table(finished: Finished) -> None:
    summary = json.loads((finished[0] / "summary.json").read_text())
    summary["block_errors"] = [2 * unit["error"] for unit in summary["units"]]
    rows = media.tables(finished[0], summary)[media.UNITS]
    assert [row[-1] for row in rows] == pytest.approx([-0.5] * len(rows))
    errors = [0.0, math.nan, *summary["block_errors"][2:]]
    rows = media.tables(finished[0], {**summary, "block_errors": errors})[media.UNITS]
    assert [row[-1] for row in rows] == [None, None, *[pytest.approx(-0.5)] * (len(rows) - 2)]
    rows = media.tables(finished[0], {**summary, "block_errors": errors[:-1]})[media.UNITS]
    assert {row[-1] for row in rows} == {None}  # of another network
    rows = media.tables(finished[0], {**summary, "finish": {"before": 1.0}})[media.UNITS]
    assert {row[-1] for row in rows} == {None}  # the block-wise run was not finished


def test_a_picture_that_cannot_be_drawn_loses_no_summary(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settled: Callable[[Path], OfflineRun],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from mrecg.config.outputs import LoggerConfig

    def fail(*arguments: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(media, "pictures", fail)
    (tmp_path / "summary.json").write_text("{}")
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="a", settings={})
    run.finish({"status": "completed", "timing_s": {"plan": 2.0}})
    assert settled(tmp_path).summary["seconds"] == 2.0
    assert "no tables and pictures of this run (no font)" in caplog.text
