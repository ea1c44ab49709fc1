"""A run that W&B's agent has started: it joins the agent's sweep. Offline."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from offline_run import OfflineRun

from mrecg.config.outputs import LoggerConfig
from mrecg.track.wandb_logger.wandb_run import WandbRun

SUMMARY: dict[str, Any] = {
    "status": "completed",
    "quantized": {"top1": 0.9, "top5": 1.0},
    "timing_s": {"plan": 1.0, "evaluate": 2.0},
}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment that an agent gives its runs, but offline."""
    (tmp_path / "params.yaml").write_text("wandb_version: 1\nmethod: {value: qdrop}\nseed: {value: 1}\n")
    monkeypatch.chdir(tmp_path)
    wandb.teardown()  # what it has read of the environment before, and has written to it
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for key, value in {
        "SWEEP_ID": "abcd1234",
        "RUN_ID": "run98765",
        "SWEEP_PARAM_PATH": str(tmp_path / "params.yaml"),
        "PROJECT": "theirs",
        "ENTITY": "me",
        "MODE": "offline",
        "ERROR_REPORTING": "false",
    }.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    yield
    wandb.teardown()


@pytest.mark.usefixtures("agent")
def test_a_run_of_an_agent_joins_the_sweep(tmp_path: Path, settled: Callable[[Path], OfflineRun]) -> None:
    settings = {"method": {"name": "qdrop", "lr_scale": 0.5}, "seed": 1, "granularity": {"name": "mixed"}}
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="mine", settings=settings)
    assert (run.run.sweep_id, run.run.id, run.run.project) == ("abcd1234", "run98765", "theirs")
    run.finish(SUMMARY)
    read = settled(tmp_path)
    assert read.summary["top1"] == 0.9 and read.summary["seconds"] == 3
    assert read.config["method"] == "qdrop" and read.config["seed"] == 1  # as the sweep has them
    assert read.config["resolved"] == {"method": settings["method"]}
    assert read.config["granularity"] == {"name": "mixed"}
