"""A run on several devices, by the command line: probe, plan, run and report as on one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_a_run_on_two_devices(mrecg: Callable[..., Any]) -> None:
    code, out, err = mrecg(
        *("quantize", "model=embedded", "data=digits", "data.calibration_images=24", "logger=csv"),
        *("trainer.steps=2", "trainer.batch_size=8", "trainer.log_every=1", "trainer.device=cpu"),
        *("calibration.candidates=4", "calibration.bins=64", "trainer.devices=2"),
        *("planner=loss", "planner.merge_count=1"),
    )
    assert code == 0, err
    assert "report.html" in out and "Traceback" not in out + err
    assert "probe for the plan" in err and "reconstruct" in err
    (run,) = Path.cwd().glob("outputs/*/*/summary.json")
    summary = json.loads(run.read_text())
    environment = json.loads((run.parent / "environment.json").read_text())
    assert (summary["devices"], environment["devices"], summary["status"]) == (2, 2, "completed")
    assert any(len(group) == 2 for group in summary["groups"]) and summary["quantized"] is not None
    assert {path.name for path in run.parent.iterdir()} >= {"report.html", "run.log", "units.csv", "curves"}
    assert len(list((run.parent / "curves").iterdir())) == len(summary["groups"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trainer.devices=0"], "trainer.devices: 0 is not right"),
        (["trainer.devices=2", "trainer.device=cuda:1"], "set trainer.device=cuda instead of cuda:1"),
    ],
)
def test_wrong_devices_are_refused_at_once(words: list[str], line: str, mrecg: Callable[..., Any]) -> None:
    code, _, err = mrecg("quantize", *words)
    assert code == 2 and line in err.splitlines()[-1]
