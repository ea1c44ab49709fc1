"""W&B's sweep files: the same axes as Hydra's, and commands that compose. Without a server."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from tiers import first_fast

from mrecg.config import hydra_compose
from mrecg.config.outputs import LoggerConfig
from mrecg.config.paths import CONF
from mrecg.sweep.space import read_space
from mrecg.track.wandb_logger import metrics

SWEEPS = sorted((CONF / "sweep" / "wandb").glob("*.yaml"), key=lambda path: path.stem)
SUMMARY: dict[str, Any] = {
    "status": "completed",
    "quantized": {"top1": 0.9, "top5": 1.0},
    "timing_s": {"plan": 1.0, "evaluate": 2.0},
}
each = pytest.mark.parametrize("file", first_fast(SWEEPS, keep=2), ids=lambda path: path.stem)


def content(file: Path) -> dict[str, Any]:
    from wandb.sdk.launch.sweeps.utils import load_sweep_config

    loaded = load_sweep_config(str(file))
    assert loaded is not None
    return loaded


def params(file: Path) -> dict[str, str]:
    """Axes of the Hydra sweep of the same name."""
    overlay = yaml.safe_load((CONF / "sweep" / file.name).read_text())
    found: dict[str, str] = overlay["hydra"]["sweeper"]["params"]
    return found


def ends(axis: dict[str, Any]) -> list[Any]:
    return axis["values"] if "values" in axis else [axis["min"], axis["max"]]


def test_each_named_sweep_of_the_issue_has_one() -> None:
    names = {"brecq_vs_mrecg", "merge_count", "bits_grid", "seeds", "planner", "search"}
    assert {file.stem for file in SWEEPS} == names


@each
def test_the_axes_are_those_of_hydras_sweep(file: Path) -> None:
    axes, hydra = content(file)["parameters"], params(file)
    assert list(axes) == list(hydra)
    for key, text in hydra.items():
        axis = axes[key]
        (override,) = OverridesParser.create().parse_overrides([f"{key}={text}"])
        if "values" in axis:
            assert [str(value) for value in axis["values"]] == list(override.sweep_string_iterator())
        else:
            pytest.importorskip("optuna")
            found: Any = read_space([override]).axes[key]
            assert (axis["min"], axis["max"]) == (found.low, found.high)
            kind = "int_uniform" if isinstance(axis["min"], int) else "uniform"
            assert axis["distribution"] == ("log_uniform_values" if found.log else kind)


@each
def test_what_it_asks_for_is_there(file: Path) -> None:
    sweep = content(file)
    assert sweep["metric"] == {"name": "top1", "goal": "maximize"}
    assert sweep["metric"]["name"] in metrics.flat_summary(SUMMARY)
    assert sweep["project"] == LoggerConfig().project and sweep["name"] == file.stem
    assert sweep["method"] == (
        "grid" if all("values" in axis for axis in sweep["parameters"].values()) else "bayes"
    )


@each
def test_the_agents_command_composes(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With W&B's own agent, up to where it would start the process."""
    from wandb import wandb_agent

    started: list[list[str]] = []

    class Process:
        last_sigterm_time = None

        def __init__(self, command: list[str], env: dict[str, str], **more: Any) -> None:
            started.append(command)
            assert env["WANDB_RUN_ID"] == "run1" and Path(env["WANDB_SWEEP_PARAM_PATH"]).is_file()

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    monkeypatch.setattr(os, "environ", {**os.environ, "WANDB_SWEEP_ID": "abcd", "WANDB_DIR": str(tmp_path)})
    monkeypatch.chdir(tmp_path)
    sweep = content(file)
    agent = wandb_agent.Agent(api=None, queue=None, sweep_id="abcd")
    agent._sweep_command = sweep["command"]
    keys = list(sweep["parameters"])
    # Every value of each axis with the first and the last of all others; more would take minutes.
    axes = [ends(axis) for axis in sweep["parameters"].values()]
    wanted = {
        choice
        for choice in itertools.product(*axes)
        if sum(value not in (axis[0], axis[-1]) for value, axis in zip(choice, axes, strict=True)) <= 1
    }
    seen = set()
    for choice in itertools.islice(sorted(wanted, key=str), 0, None, max(1, len(wanted) // 6)):
        args = {key: {"value": value} for key, value in zip(keys, choice, strict=True)}
        agent._command_run({"type": "run", "run_id": "run1", "program": sweep["program"], "args": args})
        program, verb, *words = started[-1]
        assert (program, verb) == ("mrecg", "quantize")
        checked = hydra_compose.check(words)
        (config,) = checked.configs
        assert checked.folder is None and config.logger.wandb == "online"
        seen.add(repr((config.method, config.granularity, config.planner, config.bits, config.seed)))
    assert len(seen) == len(started) > 3
