"""One process at a time in a run folder."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mrecg.runs.layout import LOCK
from mrecg.runs.lock import InUseError, locked, run_lock


def _hold(folder: Path, ready: object) -> None:
    with run_lock(folder):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_the_owner_is_named_and_gone_with_its_process(tmp_path: Path) -> None:
    assert not locked(tmp_path) and not locked(tmp_path / "none")
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(10) and locked(tmp_path)
    with (
        pytest.raises(InUseError, match=rf"process {holder.pid} on .* works in it"),
        run_lock(tmp_path, patience=0.1),
    ):
        pass
    holder.kill()
    holder.join()
    assert not locked(tmp_path)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_look_does_not_keep_anybody_out(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        pass
    for _ in range(50):
        assert not locked(tmp_path)
        with run_lock(tmp_path, patience=0.0):
            assert locked(tmp_path)
