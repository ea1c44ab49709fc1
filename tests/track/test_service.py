"""W&B's own process: where it stops or dies, neither the job nor the interpreter waits for it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from offline_run import OfflineRun

from mrecg.config.validate import run_config
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.trackers import tracked
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


def test_the_next_run_of_a_process_begins_with_a_new_process_of_w_and_b(
    tmp_path: Path, settled: Callable[[Path], OfflineRun]
) -> None:
    config = run_config({"logger": {"wandb": "offline"}})
    for name in ("one", "two"):
        with tracked(config, tmp_path / name) as trackers:
            for listener in trackers.listeners:
                for i in range(5):
                    point = CurvePoint(step=i, reconstruction=1.0, rounding=None, total=1.0, beta=None)
                    listener.curve("a", "joint", [point], 1)
            trackers.summary = {"status": "completed"}
        assert len(settled(tmp_path / name).curve("total/a")) == 5
        abandon()
