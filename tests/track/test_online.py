"""W&B online, against a stand-in for its server: a resumed run is one run there, and uploads end in time."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from mrecg.config.validate import run_config
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.trackers import tracked
from mrecg.track.wandb_logger import sender, wandb_run
from tests.track.wandb_server import Kept, running

pytestmark = pytest.mark.xdist_group("wandb")

TWENTY = [(i, i) for i in range(20)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    wandb.teardown()
    with running() as (address, kept):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield kept
        wandb.teardown()


def reconstruct(folder: Path, mode: str, *, until: int) -> None:
    """Tell of 20 steps from the first on, or be interrupted before."""
    with tracked(run_config({"logger": {"wandb": mode}}), folder) as trackers:
        for listener in trackers.listeners:
            listener.begin(["a"], 20)
            for i in range(until):
                point = CurvePoint(step=i, reconstruction=float(i), rounding=None, total=1.0, beta=None)
                listener.curve("a", "joint", [point], 1)
        if until < 20:
            raise KeyboardInterrupt
        trackers.summary = {"status": "completed"}


def test_a_run_that_is_resumed_online_is_one_run_with_every_row_once(server: Kept, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        reconstruct(tmp_path, "online", until=8)
    assert server.rows() == TWENTY[:8]
    reconstruct(tmp_path, "online", until=20)
    assert server.rows() == TWENTY and len(server.ids) == 1


@pytest.mark.slow
def test_both_parts_of_a_run_that_was_resumed_offline_sync_into_one(server: Kept, tmp_path: Path) -> None:
    command = shutil.which("wandb", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command wandb is not beside this Python")
    with pytest.raises(KeyboardInterrupt):
        reconstruct(tmp_path, "offline", until=8)
    time.sleep(1.1)  # the names of W&B's folders have seconds
    reconstruct(tmp_path, "offline", until=20)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
    environment = {**os.environ, "WANDB_MODE": "online", "WANDB_SILENT": "false"}
    environment.pop("WANDB_SERVICE", None)
    done = subprocess.run(
        [command, "sync", "--yes", str(tmp_path / "wandb")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert server.rows() == TWENTY and len(server.ids) == 1


@pytest.mark.slow
def test_an_upload_that_never_ends_ends(
    server: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wandb_run, "UPLOAD_SECONDS", 2.0)
    caplog.set_level(logging.WARNING, "mrecg.track")
    server.uploads.clear()
    begin = time.monotonic()
    reconstruct(tmp_path, "online", until=20)
    assert time.monotonic() - begin < 10
    assert sender.FINISH_SECONDS > 45 >= wandb_run.UPLOAD_SECONDS
    (run,) = tmp_path.glob("wandb/run-*")
    first, last = [r.getMessage() for r in caplog.records if r.name.startswith("mrecg.track.")]
    assert first.startswith("W&B: sending stopped at its finish (TimeoutError: ")
    assert last.endswith(f"to send what W&B has of it: wandb sync --include-online {run}")
    assert len((tmp_path / "curves" / "a.csv").read_text().splitlines()) == 21
