"""W&B offline: a real run, read back from the file that it leaves and compared with its folder."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from offline_run import Definition, OfflineRun

from mrecg.config.outputs import LoggerConfig
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result
from mrecg.planner.schedule import Criterion, Plan
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.finishing_module import NetworkFinishing
from mrecg.reconstruct.helpers import Team
from mrecg.runs.measures import regrowth
from mrecg.track.wandb_logger import metrics
from mrecg.track.wandb_logger.wandb_run import WandbRun

Config = Callable[..., RunConfig]
Settled = Callable[[Path], OfflineRun]
Finished = tuple[Path, Result]


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def filled(rows: list[dict[str, str]], column: str) -> list[tuple[float, float]]:
    return [(float(row["step"]), float(row[column])) for row in rows if row[column]]


def test_one_run_a_job_and_nothing_online(finished: Finished) -> None:
    assert len(list(finished[0].rglob("*.wandb"))) == 1
    assert next(finished[0].rglob("run-*.wandb")).parent.name.startswith("offline-run-")
    assert os.environ["WANDB_MODE"] == "offline" and os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_every_curve_file_is_there_on_the_axis_of_its_steps(finished: Finished, read: OfflineRun) -> None:
    folder, result = finished
    places = metrics.places(result.plan)
    seen = set()
    for file in sorted((folder / "curves").glob("*.csv")):
        group, _, task = file.name.removesuffix(".csv").partition(".")
        place = metrics.with_pass(places[group], task, 2 if task else 1)
        for column in metrics.CURVE:
            if points := filled(table(file), column):
                key = metrics.curve_key(place, column)
                assert read.definitions[key].axis == "step"
                assert read.curve(key) == points
                seen.add(key)
    assert len(seen) == 4 * 4 + 3 * 2  # the first pass has a regulariser, too; the head has no scale to learn
    assert {key for key in read.definitions if key.split("/")[0] in metrics.CURVE.values()} == seen


def test_the_curves_over_the_units_are_units_csv_and_the_plan(finished: Finished, read: OfflineRun) -> None:
    folder, result = finished
    units = table(folder / "units.csv")
    for key, column in (("oscillation/error", "error"), ("oscillation/loss", "loss")):
        assert read.curve(key) == [(float(row["index"]), float(row[column])) for row in units]
    measured = result.summary["evaluation_errors"]
    assert read.curve("oscillation/error_evaluation") == list(enumerate(measured))
    plan = json.loads((folder / "plan.json").read_text())["criteria"][0]
    assert read.curve("plan/capacity_modcap") == list(enumerate(plan["capacities"]))
    assert read.curve(f"plan/difference_modcap_{plan['difference']}") == list(
        enumerate(plan["differences"], start=1)
    )
    assert len(units) == 5 == len(result.plan.units)


def test_axes_are_defined_by_exact_names_that_w_and_b_finds_again(read: OfflineRun) -> None:
    rows = [row for row in read.history if not any(key.startswith(("tables/", "pictures/")) for key in row)]
    logged = {key for row in rows for key in row if not key.startswith("_")}
    assert read.definitions.keys() == logged
    for key, definition in read.definitions.items():
        assert re.fullmatch(r"[a-z][A-Za-z0-9_]*(/[A-Za-z0-9_]+)?", key)
        axis = "" if key in ("unit", "step") else "unit" if key.startswith(("osc", "plan")) else "step"
        hidden = not axis or key.startswith(("rounding", "total/"))
        assert definition == Definition(axis=axis, hidden=hidden, in_summary=False)
    assert len(rows) == len(read.history) - 1
    for row in rows:
        assert ("unit" in row) != ("step" in row)


def test_sections_come_in_the_order_of_interest(read: OfflineRun) -> None:
    shown = {key.split("/")[0] for key, definition in read.definitions.items() if not definition.hidden}
    assert sorted(shown) == ["oscillation", "plan", "reconstruction"]


def test_the_summary_is_flat_and_holds_what_runs_are_compared_by(
    finished: Finished, read: OfflineRun
) -> None:
    folder, _ = finished
    said = json.loads((folder / "summary.json").read_text())
    own = {k: v for k, v in read.summary.items() if not k.startswith(("_", "tables/", "pictures/"))}
    assert own == pytest.approx(
        {
            "status": "completed",
            "top1": said["quantized"]["top1"],
            "top1_fp": said["fp"]["top1"],
            "top1_difference": said["quantized"]["top1"] - said["fp"]["top1"],
            "kl_to_fp": said["to_fp"]["kl"],
            "agreement_with_fp": said["to_fp"]["agreement"],
            "top5": said["quantized"]["top5"],
            "top5_fp": said["fp"]["top5"],
            "top5_difference": said["quantized"]["top5"] - said["fp"]["top5"],
            **{f"oscillation_{key}": value for key, value in said["oscillation"].items()},
            "oscillation_head_error": said["units"][-2]["error"],
            "oscillation_regrowth": regrowth([unit["error"] for unit in said["units"]]),
            **{f"seconds_{key}": v + said["reused_s"].get(key, 0) for key, v in said["timing_s"].items()},
            "seconds": sum(said["timing_s"].values()) + sum(said["reused_s"].values()),
            "seconds_here": sum(said["timing_s"].values()),
            "seconds_reused": sum(said["reused_s"].values()),
            "size_bytes": said["size_bytes"]["quantized"],
            "size_bytes_fp": said["size_bytes"]["fp"],
            "merged_pairs": 1,
            "optimisation_steps": said["optimisation_steps"],
            "peak_memory_mb": said["peak_memory_mb"],
            "evaluation_images": said["evaluation_images"],
        }
    )


def test_the_config_is_the_whole_one_with_the_plan(finished: Finished, read: OfflineRun) -> None:
    folder, result = finished
    own = {
        key: value
        for key, value in read.config.items()
        if key not in ("_wandb", "plan", "provenance", "label")
    }
    assert own == yaml.safe_load((folder / "config.yaml").read_text()) == plain(result.config)
    assert read.config["plan"] == json.loads((folder / "plan.json").read_text())
    said = json.loads((folder / "summary.json").read_text())
    assert read.config["provenance"] == {key: said[key] for key in metrics.PROVENANCE}


def test_tags_group_and_job_type(read: OfflineRun) -> None:
    assert (read.name, read.project, read.group, read.job_type) == (
        "tiny-run",
        "mrecg",
        "my-sweep",
        "quantize",
    )
    assert read.tags == ("brecq", "mixed", "w2a4", "a", "b")
    assert read.exit_code == 0


def test_the_artifact_is_in_the_run_folder_and_nowhere_else(finished: Finished, read: OfflineRun) -> None:
    artifact, *others = sorted(read.artifacts, key=lambda one: one.type)
    assert {one.type for one in others} == {"run_table"}
    for one in others:  # W&B's own copy of a table, for the upload
        assert all(file.is_relative_to(finished[0] / "wandb") for file in one.files.values())
    assert (artifact.name, artifact.type) == ("tiny_run", "model")
    assert set(artifact.files) == {"quantized.safetensors", "plan.json", "config.yaml", "summary.json"}
    for name, file in artifact.files.items():
        assert file == (finished[0] / name).resolve() and file.is_file()


def test_w_and_b_would_sync_it_without_asking_for_a_key(finished: Finished) -> None:
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent))
    if wandb is None:
        pytest.skip("the command wandb is not beside this Python")
    run = next(finished[0].glob("wandb/offline-run-*"))
    done = subprocess.run(
        [wandb, "sync", "--dry-run", str(run)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0 and "Would sync 1 run" in done.stdout + done.stderr


def test_a_run_without_any_of_it_has_no_artifact(
    tiny_config: Config, tmp_path: Path, settled: Settled
) -> None:
    config = tiny_config(logger={"wandb": "offline"}, granularity={"name": "block"}, method={"name": "rtn"})
    pipeline.run(config, tmp_path)
    run = settled(tmp_path)
    assert (
        {one.type for one in run.artifacts} == {"run_table"}
        and run.group == ""
        and run.tags == ("rtn", "block", "w2a4")
    )
    assert len(run.curve("oscillation/error")) == 5


def test_a_failed_run_says_so(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("on the way")

    monkeypatch.setattr(Team, "reconstruct", fail)
    logger = {"wandb": "offline", "artifact": True}
    with pytest.raises(RuntimeError, match="on the way"):
        pipeline.run(tiny_config(logger=logger, granularity={"name": "block"}), tmp_path)
    run = settled(tmp_path)
    assert run.exit_code == 1 and run.summary["status"] == "failed" and run.artifacts == []


def point(step: int, value: float = 1.0, **more: Any) -> CurvePoint:
    given = {"reconstruction": value, "rounding": None, "total": value, "beta": None, **more}
    return CurvePoint(step=step, **given)


def test_a_merged_group_and_its_last_unit_alone_share_their_name(tmp_path: Path, settled: Settled) -> None:
    units = tuple(f"features.{i}" for i in range(12))
    alone = Plan(granularity="block", units=units, groups=tuple((u,) for u in units))
    merged = Plan(
        granularity="mixed", units=units, groups=((units[0],), units[1:10], *((u,) for u in units[10:]))
    )
    found = []
    for name, plan, group in (("alone", alone, "features.9"), ("merged", merged, "features.1+..+features.9")):
        run = WandbRun(LoggerConfig(), folder=tmp_path / name, name=name, settings={})
        run.plan(plan)
        run.begin([group], 1)
        run.curve(group, "joint", [point(0)], 1)
        run.finish({})
        found.append(settled(tmp_path / name))
    for read in found:
        assert read.curve("reconstruction/09_features_9") == [(0, 1.0)]


def test_what_is_not_finite_stays_readable(tmp_path: Path, settled: Settled) -> None:
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="nan", settings={})
    run.begin(["a"], 1)
    run.curve("a", "joint", [point(0, math.nan), point(1, math.inf)], 2)
    run.finish({"oscillation": {"error_index": math.nan}})
    read = settled(tmp_path)
    assert [str(row["total/a"]).lower() for row in read.history] == ["nan", "inf"]
    assert read.exit_code == 0


def test_criteria_of_one_unit_have_no_difference(tmp_path: Path, settled: Settled) -> None:
    criterion = Criterion(name="modcap", difference="squared", capacities=(2.0,), differences=())
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="one", settings={})
    run.plan(Plan(granularity="block", units=("a",), groups=(("a",),), criteria=(criterion,)))
    run.finish({})
    read = settled(tmp_path)
    assert (
        read.curve("plan/capacity_modcap") == [(0, 2.0)]
        and "plan/difference_modcap_squared" not in read.definitions
    )


def test_the_curve_of_a_finishing_is_there_once_also_after_a_second_beginning(
    tiny_config: Config, tmp_path: Path, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(
        logger={"wandb": "offline"},
        method={"name": "rtn"},
        finish={"name": "network", "steps": 12, "held_out": 0.25},
        trainer={"log_every": 1, "chunk": 2},
    )
    real = NetworkFinishing.step

    def stop(module: NetworkFinishing, step: int, *rest: Any) -> None:
        if step == 7:
            raise RuntimeError("stopped")
        real(module, step, *rest)

    monkeypatch.setattr(NetworkFinishing, "step", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        pipeline.run(config, tmp_path / "run")
    monkeypatch.setattr(NetworkFinishing, "step", real)
    result = pipeline.run(config, tmp_path / "run")
    files = sorted((tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb"))
    runs = [settled(file) for file in files]
    assert len(runs) == 2
    rows = table(tmp_path / "run" / "finishing.csv")
    for column in ("loss", "held_out"):
        sent = [point for run in runs for point in run.curve(f"finish/{column}")]
        assert sent == filled(rows, column) and len(sent) == {"loss": 12, "held_out": 7}[column]
        definition = runs[-1].definitions[f"finish/{column}"]
        assert definition.axis == "step" and not definition.hidden and not definition.in_summary
    assert result.summary["finish"]["checks"][-1]["step"] == 12
