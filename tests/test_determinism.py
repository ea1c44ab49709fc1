"""What must not show in a result: how images are read, where curves go, what is drawn, kept and shared."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.pipeline import run as pipeline
from mrecg.system import machine
from mrecg.track.terminal import Screen

Config = Callable[..., RunConfig]
FILES = ("quantized.safetensors", "units.csv")
MEASURED = ("timing_s", "reused_s", "peak_memory_mb", "cache")
"""Keys of summary.json that are measured anew each time."""
SETTINGS: dict[str, Any] = {
    "granularity": {"name": "mixed"},
    "planner": {"name": "modcap", "merge_count": 1, "merge_boundary": True},
    "trainer": {"steps": 6},
}
ASSETS = Path(__file__).parent / "assets"


@pytest.fixture(scope="module")
def whole(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunConfig]:
    """The run that all others are compared with."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    config = tiny_config(**SETTINGS)
    pipeline.run(config, folder)
    return folder, config


def laid_over(**groups: Any) -> dict[str, Any]:
    return {
        key: {**SETTINGS.get(key, {}), **groups.get(key, {})} if key in groups else SETTINGS[key]
        for key in {*SETTINGS, *groups}
    }


def summary(folder: Path) -> dict[str, Any]:
    """All that a run found out, without what is measured anew each time."""
    found = json.loads((folder / "summary.json").read_text())
    for key in MEASURED:
        del found[key]
    for group in found["group_results"]:
        del group["seconds"], group["reused"]  # a group that was taken over has the same bits
    return found


def same(folder: Path, other: Path, *, but: tuple[str, ...] = ()) -> None:
    for name in FILES:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    found, expected = summary(folder), summary(other)
    for key in but:
        found.pop(key, None)
        expected.pop(key, None)
    assert found == expected


@pytest.mark.parametrize(
    "groups",
    [
        {},
        {"data": {"workers": 2}},
        {"logger": {"wandb": "offline"}},
        {"trainer": {"log_every": 5}},
        {"checkpoint": {"every_steps": 1}},
        {"cache": {"device": "disk"}},
    ],
    ids=["again", "workers", "wandb", "log_every", "checkpoints", "cache on disk"],
)
def test_settings_that_do_not_show(
    groups: dict[str, Any], whole: tuple[Path, RunConfig], tiny_config: Config, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)  # where W&B writes
    torch.manual_seed(sum(map(len, groups)))  # what the process has drawn before must not matter, either
    config = tiny_config(**laid_over(**groups))
    pipeline.run(config, tmp_path / "run")
    same(tmp_path / "run", whole[0], but=("options",))


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_does_not_show(
    terminal: bool, whole: tuple[Path, RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color" if terminal else "dumb")
    pipeline.run(whole[1], tmp_path / "run", display=Screen("run"))
    same(tmp_path / "run", whole[0])


def test_what_runs_share_does_not_show(
    whole: tuple[Path, RunConfig], tiny_config: Config, tmp_path: Path
) -> None:
    config = tiny_config(**SETTINGS, shared={"folder": str(tmp_path / "shared")})
    for name in ("first", "second"):  # the second takes over what the first has filed
        pipeline.run(config, tmp_path / name)
        same(tmp_path / name, whole[0])
    groups = json.loads((tmp_path / "second/summary.json").read_text())["group_results"]
    assert all(group["reused"] for group in groups)


@pytest.mark.slow
def test_a_process_of_its_own_does_not_show(whole: tuple[Path, RunConfig], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(plain(whole[1]), default=str))
    code = (
        "import json, sys, torch\n"
        "from pathlib import Path\n"
        "from mrecg.pipeline import run as pipeline\n"
        "from mrecg.config.validate import run_config\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "pipeline.run(run_config(json.loads(Path('config.json').read_text())), Path('run'))\n"
    )
    # Another seed of Python's own hashes: no order of a set or of names may reach a file.
    surroundings = {**os.environ, "PYTHONPATH": str(ASSETS), "PYTHONHASHSEED": "4711", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=surroundings,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    same(tmp_path / "run", whole[0])


def test_another_seed_does_show(whole: tuple[Path, RunConfig], tiny_config: Config, tmp_path: Path) -> None:
    """Otherwise the comparisons above would say nothing."""
    pipeline.run(tiny_config(**SETTINGS, seed=1), tmp_path / "run")
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() != (whole[0] / name).read_bytes()


def test_a_run_says_what_could_make_a_difference(whole: tuple[Path, RunConfig]) -> None:
    said = json.loads((whole[0] / "environment.json").read_text())
    assert said["could_differ"] == machine.COULD_DIFFER and "\n" not in said["could_differ"]
    for word in ("threads", "devices", "processor", "GPU", "torch", "numpy", "numba"):
        assert word in said["could_differ"]
    # What it names is written down, so that two runs can be compared.
    assert said["threads"] == torch.get_num_threads() and said["devices"] == 1 and said["device_name"]
    for package in ("mrecg", "torch", "numpy", "numba"):
        assert re.match(r"\d+\.\d+", said[package])
    with (whole[0] / "units.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 5
