"""Sweeps on engines that start processes: a job that fails, and one whose process is killed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrecg.runs.layout import COMPLETED, FAILED
from mrecg.runs.manifest import read_jobs
from mrecg.sweep.job_state import state

ENGINES = {
    "joblib": ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit", "hydra.sweeper.max_batch_size=4"],
    "ray": ["hydra/launcher=ray_local", "hydra.launcher.ray.init.num_cpus=2"],
}
Sweep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sweep(small: list[str], tmp_path: Path) -> Sweep:
    """Run a sweep over fates in a process of its own."""
    (tmp_path / "marks").mkdir()
    own = [word for word in small if not word.startswith(("model.target=", "model.arguments="))]
    assets = str(Path(__file__).parents[1] / "assets")

    def go(*fates: str, engine: str = "", more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        axis = ",".join(f"{{fate:{fate},marks:{tmp_path}/marks}}" for fate in fates)
        words = [
            *(sys.executable, "-m", "mrecg", "quantize", "-m", *own, "model.target=fateful.build"),
            *(f"model.arguments={axis}", "granularity=block", "trainer.threads=1", "hydra.sweep.dir=sweep"),
            *ENGINES.get(engine, []),
            *more,
        ]
        return subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": assets, "RAY_DEDUP_LOGS": "0"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return go


def states(folder: Path) -> list[str]:
    return [state(folder / job.folder) for job in read_jobs(folder)]


def calls(folder: Path, fate: str) -> list[list[str]]:
    file = folder / "marks" / fate
    return [line.split(" ", 2) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_failing_job_and_a_killed_one_do_not_stop_the_others(
    engine: str, sweep: Sweep, tmp_path: Path
) -> None:
    done = sweep("slow", "fail", "once", "fine", engine=engine)
    assert done.returncode == 1, done.stdout + done.stderr
    assert states(tmp_path / "sweep") == [COMPLETED, FAILED, COMPLETED, COMPLETED], done.stdout + done.stderr
    assert len(calls(tmp_path, "once")) == 2  # killed, then launched again
    assert len(calls(tmp_path, "fine")) == 1
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("mrecg: 1 failed")]
    assert last.startswith("mrecg: 1 failed of 4 jobs (run 1: ") and "this model cannot be made" in last
    if engine == "joblib":
        assert {call[1] for call in calls(tmp_path, "fine")} == {"2"}  # jobs on this machine
    processes = {call[0] for fate in ("slow", "fine") for call in calls(tmp_path, fate)}
    assert str(os.getpid()) not in processes
    assert {call[2] for call in calls(tmp_path, "fine")} == {str(tmp_path)}  # relative paths mean the same
    summary = json.loads(
        (tmp_path / "sweep" / read_jobs(tmp_path / "sweep")[3].folder / "summary.json").read_text()
    )
    assert summary["status"] == "completed" and (tmp_path / "sweep" / "report.html").is_file()


@pytest.mark.slow
def test_a_job_that_is_always_killed_is_given_up_and_costs_nobody_else(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("always", "slow", engine="joblib", more=("hydra.sweeper.retries=1",))
    assert done.returncode == 1
    assert states(tmp_path / "sweep")[1:] == [COMPLETED], done.stderr
    assert len(calls(tmp_path, "always")) == 2
    assert "mrecg: 1 lost of 2 jobs (run 0: its process was killed)" in done.stderr


@pytest.mark.slow
def test_processes_that_start_together_probe_once(sweep: Sweep, tmp_path: Path) -> None:
    more = ("granularity=mixed", "planner=error", "planner.merge_count=1,2")
    done = sweep("fine", engine="joblib", more=more)
    assert done.returncode == 0, done.stderr
    assert states(tmp_path / "sweep") == [COMPLETED, COMPLETED]
    assert len(list((tmp_path / "outputs/shared").glob("probe-*.entry"))) == 1
    assert len(list((tmp_path / "outputs/shared").glob("calibration-*.entry"))) == 1
