"""W&B's own process: where it stops or dies, neither the job nor the interpreter waits for it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb
from offline_run import OfflineRun

from mrecg.config.validate import run_config
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.trackers import tracked
from mrecg.track.wandb_logger import sender
from mrecg.track.wandb_logger.sender import Sender
from mrecg.track.wandb_logger.service import abandon

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from mrecg.config.validate import run_config
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.wandb_logger import sender
from mrecg.track.wandb_logger.service import abandon
from mrecg.track.trackers import tracked

sender.FINISH_SECONDS = 2.0
folder, how = Path(sys.argv[1]), sys.argv[2]
def tell(first, count):
    for i in range(first, first + count):
        point = CurvePoint(step=i, reconstruction=1.0, rounding=None, total=1.0, beta=None)
        for listener in trackers.listeners:
            listener.curve("a", "joint", [point], 1)
with tracked(run_config({"logger": {"wandb": "offline"}}), folder) as trackers:
    for listener in trackers.listeners:
        listener.begin(["a"], 5010)
    tell(0, 10)
    while trackers.wandb._sent < 10:
        time.sleep(0.01)
    from wandb.sdk import wandb_setup
    os.kill(wandb_setup._singleton._connection._proc._process.pid, getattr(signal, how))
    time.sleep(0.2)
    tell(10, 5000)  # more than the pipe to its process holds
    trackers.summary = {"status": "completed"}
Path(sys.argv[1], "end").write_text(str(time.time()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [("SIGSTOP", "W&B: no answer for 2 s; no longer waiting"), ("SIGKILL", "W&B: sending stopped at a (")],
)
def test_w_and_bs_own_process_may_stop_or_die(how: str, said: str, tmp_path: Path) -> None:
    assert hasattr(signal, how)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert time.time() - float((tmp_path / "end").read_text()) < 3, "the interpreter waited for W&B"
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith(said), done.stderr
    (run,) = tmp_path.glob("wandb/offline-run-*")
    found = re.fullmatch(
        r"W&B: not sent: (\d+) of 5010 rows of curves \(from a on\), summary, the end of the run; "
        rf"all of it is in {tmp_path}; to send what W&B has of it: wandb sync {run}",
        lines[1],
    )
    assert found is not None and 0 < int(found[1]) <= 5000
    assert len((tmp_path / "curves" / "a.csv").read_text().splitlines()) == 5011


def said_by(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("mrecg.")]


def offline_run(folder: Path) -> None:
    """Five points, offline."""
    with tracked(run_config({"logger": {"wandb": "offline"}}), folder) as trackers:
        for listener in trackers.listeners:
            for i in range(5):
                point = CurvePoint(step=i, reconstruction=1.0, rounding=None, total=1.0, beta=None)
                listener.curve("a", "joint", [point], 1)
        trackers.summary = {"status": "completed"}


@pytest.mark.parametrize("left", ["3-1-unix-/nonexistent", "3-1-tcp-localhost-1", "of another version"])
def test_the_address_of_a_process_that_is_gone_costs_no_run(
    left: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settled: Callable[[Path], OfflineRun],
    caplog: pytest.LogCaptureFixture,
) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_SERVICE", left)
    offline_run(tmp_path)
    assert len(settled(tmp_path).curve("total/a")) == 5 and not said_by(caplog)
    wandb.teardown()


def test_a_process_that_has_died_since_the_last_run_costs_no_run(
    tmp_path: Path, settled: Callable[[Path], OfflineRun], caplog: pytest.LogCaptureFixture
) -> None:
    from wandb.sdk import wandb_setup

    offline_run(tmp_path / "one")
    singleton: Any = wandb_setup._singleton
    process = singleton._connection._proc._process
    process.kill()
    process.wait()
    offline_run(tmp_path / "two")
    assert len(settled(tmp_path / "two").curve("total/a")) == 5 and not said_by(caplog)


def test_there_is_something_to_abandon_once() -> None:
    wandb.teardown()
    assert not abandon() and not abandon(dead_only=True)
    wandb.setup()  # which starts it
    assert not abandon(dead_only=True) and abandon() and not abandon()
    os.environ["WANDB_SERVICE"] = "3-1-unix-/nonexistent"
    assert abandon(dead_only=True) and "WANDB_SERVICE" not in os.environ
    assert not abandon(dead_only=True)


def test_what_cannot_be_started_is_tried_again_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried: list[str] = []

    def start(mode: str) -> Any:
        tried.append(mode)
        raise RuntimeError("it dies at once")

    monkeypatch.setattr(sender, "abandon", lambda **_: True)
    Sender(start, mode="offline", folder=tmp_path).finish({})
    assert tried == ["offline", "offline"]


def test_the_next_run_of_a_process_begins_with_a_new_process_of_w_and_b(
    tmp_path: Path, settled: Callable[[Path], OfflineRun]
) -> None:
    for name in ("one", "two"):
        offline_run(tmp_path / name)
        assert len(settled(tmp_path / name).curve("total/a")) == 5
        abandon()
