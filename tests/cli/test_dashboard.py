"""The verb dashboard, from runs that the command line has made."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun, read_run

from mrecg.errors import DataError
from mrecg.track.dashboard import apply
from mrecg.track.dashboard.apply import Applied

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, clean_process: None) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")


@pytest.fixture
def run(mrecg: Call, small: list[str]) -> Path:
    assert mrecg("quantize", *small, "granularity=block", "logger.project=mine").code == 0
    return next(Path("outputs").glob("*/*/summary.json")).parent


@pytest.mark.parametrize("words", [["--offline"], []])
def test_without_an_account_it_writes_a_file_and_says_how_to_go_on(
    words: list[str], mrecg: Call, run: Path
) -> None:
    code, out, err = mrecg("dashboard", str(run), *words)
    file = run / "dashboard.json"
    assert code == 0 and err == ""
    assert f"dashboard of 1 runs: {file}" in out and ("has no key here" in out) is not bool(words)
    assert out.splitlines()[-1] == f"  mrecg dashboard --apply {file} --entity ENTITY --project mine"
    written = json.loads(file.read_text())
    assert written["kind"] == "mrecg-dashboard" and written["workspace"]["project"] == "mine"
    assert str(Path.cwd()) not in file.read_text()


def test_with_an_account_it_goes_to_w_and_b(mrecg: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def save(specification: dict[str, Any], entity: str, project: str) -> Applied:
        asked.append((specification["runs"], entity, project))
        return Applied(workspace="https://w", report="https://r")

    monkeypatch.setattr(apply, "_save", save)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    outcome = mrecg("dashboard", "outputs", "--entity", "me", "--project", "p", "-o", "deep/d.json")
    assert outcome.code == 0 and outcome.out.splitlines()[-2:] == [
        "workspace: https://w",
        "report: https://r",
    ]
    assert mrecg("dashboard", "--apply", "deep/d.json", "--entity", "you").code == 0
    assert asked == [(1, "me", "p"), (1, "you", "p")]


def test_a_failure_at_w_and_b_is_one_line_and_leaves_the_file(
    mrecg: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Applied:
        raise DataError("dashboard: W&B did not take it: no")

    monkeypatch.setattr(apply, "_save", refuse)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    outcome = mrecg("dashboard", str(run), "--entity", "me")
    assert outcome.code == 2 and outcome.line == "mrecg: dashboard: W&B did not take it: no"
    assert (run / "dashboard.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name run folders, or --apply FILE"),
        (["a", "--apply", "b"], "and not both"),
        (["--apply", "b", "--offline"], "goes without --offline"),
        (["--apply", "nowhere.json"], "nowhere.json: no such file"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, mrecg: Call) -> None:
    outcome = mrecg("dashboard", *words)
    assert outcome.code == 2 and message in outcome.line and outcome.out == ""


def test_applying_without_a_key_says_what_to_do(mrecg: Call, run: Path) -> None:
    mrecg("dashboard", str(run), "--offline")
    outcome = mrecg("dashboard", "--apply", str(run / "dashboard.json"))
    assert outcome.code == 2 and "run wandb login" in outcome.line


def test_help_is_quick_and_has_examples(mrecg: Call) -> None:
    outcome = mrecg("dashboard", "--help")
    assert outcome.code == 0 and "--apply FILE" in outcome.out and "examples:" in outcome.out
    code = (
        "import sys\nfrom mrecg.cli.main import main\n"
        "try: main(['dashboard', '--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', *({'torch', 'wandb', 'wandb_workspaces', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.slow
def test_runs_of_a_sweep_share_its_name(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if word != "logger=csv"]
    code, _, err = mrecg("quantize", "-m", *words, "logger=wandb", "granularity=block", "seed=0,1")
    assert code == 0, err
    runs = [settled(file.parent) for file in sorted(Path("outputs").glob("*/*-sweep/*/summary.json"))]
    folder = next(Path("outputs").glob("*/*-sweep")).resolve()
    assert [run.group for run in runs] == [f"{folder.parent.name}-{folder.name}"] * 2
    assert {run.tags for run in runs} == {("qdrop", "block", "w2a4")}
    assert [run.config["seed"] for run in runs] == [0, 1]


def settled(folder: Path) -> OfflineRun:
    for _ in range(200):
        if (run := read_run(folder)).exit_code is not None:
            return run
        time.sleep(0.05)
    pytest.fail(f"the run in {folder} has no end")
