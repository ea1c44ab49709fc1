"""Help, errors and completion: everything that answers before a framework is loaded."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mrecg import __version__
from mrecg.cli.help import closed_sets, written
from mrecg.cli.main import VERBS
from mrecg.methods.registry import METHODS

Call = Callable[..., Any]
HYDRA_VERBS = ["quantize", "plan", "evaluate"]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_the_verbs(words: tuple[str, ...], mrecg: Call) -> None:
    code, out, err = mrecg(*words)
    assert code == 0 and err == ""
    for verb, (_, text) in VERBS.items():
        assert f"  {verb:<11} {text}" in out.splitlines()


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
    wanted = {"model", "data"}
    if verb != "evaluate":
        wanted |= {"bits", "method", "granularity", "planner", "trainer", "cache", "experiment"}
        assert "qdrop" in groups["method"] and "w2a4" in groups["bits"] and "merge_count" in groups["sweep"]
        assert "processes" in groups["hydra/launcher"] and "search" in groups["hydra/sweeper"]
    assert wanted <= groups.keys()
    keys = [line.strip() for line in lines if line.startswith("  ") and "=" in line.split()[0]]
    by_key = {line.split("=")[0]: line for line in keys}
    only = ("bits.weight", "trainer.steps", "planner.merge_count", "method.lr_rounding", "shared.folder")
    for key in ("model.name", "trainer.device", "seed"):
        assert key in by_key
    for key in only:
        assert (key in by_key) == (verb != "evaluate")
    assert ("run" in by_key) == ("path" in by_key) == (verb == "evaluate")
    assert keys[0].startswith("run=null") == (verb == "evaluate")
    assert by_key["data.resize"].startswith("data.resize=model ")
    assert "[model|none|...]" in by_key["data.resize"]
    for line in keys:
        assert len(line.split(maxsplit=1)) == 2, f"{line} has no description"
    assert all(f"method={name}" in out for name in METHODS) or verb == "evaluate"
    assert f"mrecg {verb}" in out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["quantise"], ["command", "'quantise'", "did you mean 'quantize'"]),
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
        (["quantize", "-m", "--cfg", "job"], ["--multirun and --cfg", "only one of them"]),
        (["quantize", "--info", "--cfg", "job"], ["--cfg and --info", "only one of them"]),
        (["quantize", "-cd", "nosuch"], ["--config-dir", "nosuch", "is no folder"]),
        (["quantize", "--config-name", "other"], ["--config-name", "other", "--config-dir DIR"]),
        (["quantize", "--config-path=/"], ["--config-path", "--config-dir DIR"]),
        (["quantize", "--cfg", "all", "bits=w9a9"], ["bits", "'w9a9'", "w2a4"]),
        (["quantize", "--cfg", "jobb"], ["--cfg", "'jobb'"]),
        (["quantize", "--info", "jobb"], ["--info", "'jobb'"]),
        (["quantize", "+experiment=demo"], ["+experiment=demo", "write experiment=demo, without +"]),
        (["quantize", "++experiment=demo"], ["write experiment=demo, without +"]),
        (["quantize", "+bits=w2a4"], ["write bits=w2a4, without +"]),
        (["quantize", "+seed=3"], ["+seed=3", "write seed=3, without +"]),
        (["quantize", "experiment=demo", "method=rtn"], ["experiment=demo sets it", "method=rtn"]),
        (["quantize", "granularity.groups=()"], ["granularity.groups=()", "[a,b]"]),
        (["quantize", "seed=1", "logger.tags=()"], ["logger.tags=()", "[a,b]"]),
        (["quantize", "="], ["'='", "KEY=VALUE"]),
        (["quantize", "hydra.mode=FOO"], ["hydra.mode=FOO", "RUN, MULTIRUN"]),
        (["quantize", "-m", "bits=glob(w2*)", "trainer.steps=0"], ["trainer.steps: 0"]),
        (["quantize", "-m", "granularity=glob(*)"], ["granularity.groups", "needs groups"]),
        (["quantize", "-m", "hydra/launcher=glob(*)", "trainer.steps=0"], ["trainer.steps: 0"]),
        (["quantize", "trainer.steps=true"], ["trainer.steps: true", "number"]),
        (["quantize", "seed=false"], ["seed: false", "number"]),
        (["quantize", "trainer.lr_factor=true"], ["trainer.lr_factor: true", "number"]),
        (["quantize", "precision=true"], ["precision: true", "number"]),
        (["quantize", "planner.merge_count=true"], ["planner.merge_count: true", "number"]),
        (["quantize", "method.warmup=true"], ["method.warmup: true", "number"]),
        (["quantize", "model.input_shape=[3,true,8]"], ["model.input_shape.1: true", "number"]),
        (["quantize", "granularity=fixed", "granularity.groups=[[]]"], ["granularity.groups.0", "at least 1"]),  # noqa: E501
        (["quantize", "-sc", "nonsense"], ["-sc", "install=SHELL"]),
        (["quantize", "--help", "trainer=fst"], ["trainer", "'fst'", "did you mean 'fast'"]),
        (["help", "quantise"], ["command", "'quantise'", "did you mean 'quantize'"]),
        (["report"], ["report:", "DIR", "mrecg report --help"]),
        (["report", "a", "--nope"], ["report:", "--nope"]),
        (["sweep", "stat"], ["sweep:", "'stat'", "resume"]),
        (["sweep", "resume"], ["sweep resume:", "DIR"]),
        (["export", "a", "format=onnx", "run=b"], ["one run folder"]),
        (["dashboard", "--nope"], ["dashboard:", "--nope"]),
        (["doctor", "x"], ["doctor:", "x"]),
        (["report", "run=nowhere"], ["nowhere: no such folder"]),
        (["sweep", "status", "run=nowhere"], ["nowhere: no such folder"]),
        (["report", "a\0b"], ["a\\x00b: no such folder"]),
        (["report", "\udcff"], ["udcff: no such folder"]),
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
        "from mrecg.cli.main import main\n"
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
        (["doctor", "--help"], 0, set()),
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


@pytest.mark.parametrize("words", [("help", "plan"), ("--help", "plan"), ("-h", "plan"), ("plan", "--help")])
def test_help_about_a_verb_can_be_asked_for_in_any_order(words: tuple[str, ...], mrecg: Call) -> None:
    code, out, err = mrecg(*words)
    assert (code, err) == (0, "") and out.startswith("usage: mrecg plan ")


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_tells_the_version_of_mrecg(verb: str, mrecg: Call) -> None:
    assert mrecg(verb, "--version") == (0, f"mrecg {__version__}\n", "")


def test_help_says_in_one_line_what_floor_and_losses_mean(mrecg: Call) -> None:
    (said,) = [line for line in mrecg("quantize", "--help").out.splitlines() if "floor the loss that" in line]
    assert all(f"{word} " in said for word in ("loss", "error", "to block"))
    assert "floor the loss" not in mrecg("evaluate", "--help").out


def test_help_has_the_defaults_that_a_run_gets(mrecg: Call) -> None:
    """Hydra composes what the help has put together without Hydra."""
    help_text = mrecg("quantize", "--help").out
    shown = dict(
        line.split()[0].partition("=")[::2]
        for line in help_text.partition("with method=")[0].splitlines()
        if line.startswith("  ") and "=" in (line.split() or [""])[0]
    )
    composed = yaml.safe_load(mrecg("quantize", "--cfg", "job").out)
    found = {key: written(value) for key, value in leaves(composed) if not key.startswith("method.")}
    assert shown == {key: found[key] for key in shown}
    assert shown["shared.folder"] == "outputs/shared" and shown["granularity.groups"] == "[]"
    assert set(found) - set(shown) == {"run", "path", "pictures"}  # those of other commands


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_help_lists_every_closed_set(mrecg: Call) -> None:
    lines = [line.strip() for line in mrecg("quantize", "--help").out.splitlines()]
    for key, words in closed_sets():
        if key not in ("run", "path", "pictures"):
            line = next(line for line in lines if line.startswith(f"{key}="))
            assert "|".join(words) in line
    assert len(list(closed_sets())) > 30


def test_help_shows_what_a_choice_sets_and_own_choices(mrecg: Call) -> None:
    assert "steps: 5000" in mrecg("quantize", "--help", "trainer=fast").out
    own = Path("own/experiment/mine.yaml")
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\nseed: 7\n")
    line = next(
        line for line in mrecg("plan", "-cd", "own", "--help").out.splitlines() if "experiment " in line
    )
    assert ", mine," in line and ", demo," in line
    assert "seed: 7" in mrecg("quantize", "--config-dir=own", "--help", "experiment=mine").out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mrecg quantize calibration.weight_range=", ["calibration.weight_range=minmax"]),
        ("mrecg quantize method.beta_decay=c", ["method.beta_decay=cosine"]),
        ("mrecg quantize planner.merge_count=", ["planner.merge_count=auto"]),
        ("mrecg export X form", ["format=onnx", "format=packed"]),
        ("mrecg sweep re", ["resume"]),
        ("mrecg quantize ${ =[", []),
        ("mrecg quantize -cd nosuch bits=", []),
    ],
)
def test_completion_offers_words_or_nothing(
    line: str, offered: list[str], mrecg: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = mrecg("-sc", "query=bash")
    assert (code, err) == (0, "")
    assert set(offered) <= set(out.split())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the current folder cannot be removed")
def test_a_current_folder_that_is_gone_is_named(
    mrecg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setenv("PWD", str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    outcome = mrecg("report", "x")
    assert outcome.code == 2 and f"{tmp_path / 'gone'}: the current folder no longer exists" in outcome.line
