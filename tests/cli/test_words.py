"""Help, errors and completion: everything that answers before a framework is loaded."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrecg import __version__
from mrecg.cli import VERBS
from mrecg.config.methods import METHODS

Call = Callable[..., Any]
HYDRA_VERBS = ["quantize", "plan", "evaluate"]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_the_verbs(words: tuple[str, ...], mrecg: Call) -> None:
    code, out, err = mrecg(*words)
    assert code == 0 and err == ""
    for verb, (_, text) in VERBS.items():
        assert f"  {verb:<10} {text}" in out.splitlines()


def test_version(mrecg: Call) -> None:
    assert mrecg("--version") == (0, f"mrecg {__version__}\n", "")


@pytest.mark.parametrize("verb", HYDRA_VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_a_verbs_help_has_groups_and_keys_with_defaults_and_meaning(
    verb: str, flag: str, mrecg: Call
) -> None:
    code, out, err = mrecg(verb, flag)
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert f"mrecg {verb}" in lines[0]
    groups = {line.split()[0]: line for line in lines[3:] if line.startswith("  ") and "=" not in line}
    for group in (
        "model",
        "data",
        "bits",
        "method",
        "granularity",
        "planner",
        "trainer",
        "cache",
        "logger",
        "experiment",
    ):
        assert group in groups
    assert "qdrop" in groups["method"] and "w2a4" in groups["bits"] and "merge_count" in groups["sweep"]
    keys = [line.strip() for line in lines if line.startswith("  ") and "=" in line.split()[0]]
    by_key = {line.split("=")[0]: line for line in keys}
    for key in ("bits.weight", "trainer.steps", "planner.merge_count", "method.lr_rounding", "run", "seed"):
        assert key in by_key
    assert by_key["bits.weight"].startswith("bits.weight=2 ")
    for line in keys:
        assert len(line.split(maxsplit=1)) == 2, f"{line} has no description"
    assert all(f"method={name}" in out for name in METHODS)
    assert f"mrecg {verb}" in out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["quantise"], ["verb", "'quantise'", "did you mean 'quantize'"]),
        (["quantize", "bits.weigth=4"], ["bits.weigth", "unknown key", "did you mean bits.weight"]),
        (["quantize", "bitz=w2a4"], ["bitz", "unknown key", "did you mean bits"]),
        (["quantize", "bitz.weight=4"], ["bitz.weight", "unknown key", "did you mean bits"]),
        (["quantize", "model.argument.width=4"], ["model.argument.width", "did you mean model.arguments"]),
        (["quantize", "method.lr_scal=1"], ["method.lr_scal", "unknown key", "mean method.lr_scale"]),
        (["quantize", "method=rtn", "method.lr_scale=1"], ["method.lr_scale", "unknown key"]),
        (["quantize", "bits.weight=four"], ["bits.weight", "'four'", "integer"]),
        (["quantize", "bits.weight=1"], ["bits.weight", "1", "greater than or equal to 2"]),
        (["quantize", "bits.weight=12"], ["bits.weight", "12", "2 to 8, or 32"]),
        (["quantize", "seed=null"], ["seed", "None"]),
        (["quantize", "bits=w9a9"], ["bits", "'w9a9'", "w2a4", "w4a32"]),
        (["quantize", "method=qdorp"], ["method", "'qdorp'", "did you mean 'qdrop'"]),
        (["quantize", "planner.name=los"], ["planner.name", "'los'", "modcap"]),
        (["quantize", "experiment=nothing"], ["experiment", "'nothing'", "mrecg_qdrop"]),
        (["quantize", "sweep=nothing"], ["sweep", "'nothing'", "brecq_vs_mrecg"]),
        (["quantize", "+foo=1"], ["foo", "unknown key"]),
        (["quantize", "+bits.foo=1"], ["bits.foo", "unknown key"]),
        (["quantize", "bits=w2a4,w4a4"], ["bits", "several values", "-m"]),
        (["quantize", "seed=0,1"], ["seed", "several values", "-m"]),
        (["quantize", "-m", "seed=0,-1"], ["seed", "-1"]),
        (["quantize", "-m", "bits=w2a4,w9a9"], ["bits", "'w9a9'"]),
        (["quantize", "bits"], ["bits"]),
        (["quantize", "granularity=fixed"], ["granularity.groups", "needs groups"]),
        (["quantize", "data=image_folder"], ["data.calibration_path", "needs a folder"]),
        (["quantize", "data=cifar10"], ["data.calibration_path", "needs a folder", "cifar10"]),
        (["quantize", "data=dataset"], ["data.calibration_dataset", "needs package.module.name"]),
        (["quantize", "data.labels_path=a.csv"], ["data.labels_path", "goes with data.evaluation_path"]),
        (["quantize", "data.mean=[0.5]"], ["data.mean", "unknown key"]),
        (["quantize", "model.preprocessing.means=[0.5]"], ["unknown key", "mean model.preprocessing.mean?"]),
        (["quantize", "model=target"], ["model.target", "needs package.module.name"]),
        (["quantize", "trainer.device=gpu"], ["trainer.device", "'gpu'", "cuda:N"]),
        (["quantize", "cache.device=gpu"], ["cache.device", "'gpu'", "auto, cuda, cpu, disk"]),
        (["quantize", "--nonsense"], ["--nonsense"]),
        (["plan", "planner.merge_count=-1"], ["planner.merge_count", "-1"]),
        (["evaluate", "run=a", "data.batch_size=0"], ["data.batch_size", "0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_wrong_command_line_is_one_line(words: list[str], parts: list[str], mrecg: Call) -> None:
    outcome = mrecg(*words)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.line.startswith("mrecg: ")
    for part in parts:
        assert part in outcome.line
    assert not any(Path().iterdir())  # no run folder is left behind


HEAVY = {"torch", "torchvision", "lightning", "wandb", "hydra", "matplotlib", "numpy", "optuna"}


def loaded(*words: str) -> tuple[int, set[str]]:
    """Exit code, and what a command line has imported of the heavy packages."""
    code = (
        "import sys\n"
        "from mrecg.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: code = left.code\n"
        f"print('\\nLOADED', code, *({HEAVY} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    status, *heavy = done.stdout.rsplit("LOADED", 1)[1].split()
    return int(status), set(heavy)


@pytest.mark.parametrize(
    ("words", "code", "allowed"),
    [
        (["--help"], 0, set()),
        (["quantize", "--help"], 0, set()),
        (["quantise"], 2, set()),
        (["quantize", "bits.weight=1"], 2, {"hydra"}),
        (["quantize", "sweep=bits_grid", "bits.foo=1"], 2, {"hydra"}),
        (["quantize", "sweep=search", "bits.foo=1"], 2, {"hydra"}),
    ],
)
def test_nothing_heavy_is_imported_for_an_answer(words: list[str], code: int, allowed: set[str]) -> None:
    status, heavy = loaded(*words)
    assert status == code and heavy <= allowed


def complete(line: str, words: tuple[str, ...] = ("-sc", "query=bash")) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "mrecg", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("mrecg qu", ["quantize"], ["plan"]),
        ("mrecg ", list(VERBS), []),
        ("mrecg quantize bits=", ["bits=w2a4", "bits=w4a4"], ["bits=qdrop"]),
        ("mrecg plan model=res", ["model=resnet18", "model=resnet50"], ["model=mobilenet_v2"]),
        ("mrecg quantize gran", ["granularity="], []),
        ("mrecg quantize trainer.st", ["trainer.steps=", "trainer.steps_per="], []),
        ("mrecg quantize bits=w2a4 method=", ["method=qdrop"], []),
    ],
)
def test_the_shell_completes(line: str, offered: list[str], not_offered: list[str]) -> None:
    words = complete(line)
    assert set(offered) <= set(words), words
    assert not set(not_offered) & set(words)


def test_completion_is_installed_for_the_command() -> None:
    script = complete("", ("-sc", "install=bash"))
    assert "mrecg" in script and "complete" in script
