"""To go on from a folder: its own resolved configuration, whatever it is called, whoever made it."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiers import first_fast

from mrecg.pipeline import run as pipeline
from mrecg.runs.lock import run_lock
from mrecg.runs.manifest import read_jobs

Call = Callable[..., Any]
NAMES = first_fast(["${oc.env:HOME}", '[say "no"] $(x)', "it's", "a b,c", "-x=\\{é}"])


@pytest.fixture
def quick(small: list[str]) -> list[str]:
    """A run of a second or two, of a network that needs no consent."""
    kept = [word for word in small if not word.startswith(("model.target", "model.arguments"))]
    own = ["model.target=mrecg.models.cifar.resnet20", "method=rtn", "granularity=block", "planner=modcap"]
    return [*kept, *own, "shared.folder=null", "planner.merge_boundary=false"]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the next run stop behind its start."""

    def arm() -> None:
        real = pipeline.calibrate

        def stop(*_: object, **__: object) -> None:
            monkeypatch.setattr(pipeline, "calibrate", real)
            raise KeyboardInterrupt

        monkeypatch.setattr(pipeline, "calibrate", stop)

    return arm


def go_on(err: str) -> list[str]:
    """The words of the printed line, as a shell would give them."""
    line = err.splitlines()[-1]
    assert line.startswith("mrecg: interrupted; continue with: mrecg "), err
    return shlex.split(line.partition("continue with: mrecg ")[2])


@pytest.fixture
def own_conf(tmp_path: Path, quick: list[str]) -> Path:
    """A folder of configurations as users have them."""
    conf = tmp_path / "my conf"
    for group in ("experiment", "sweep"):
        (conf / group).mkdir(parents=True)
    (conf / "experiment/mine.yaml").write_text("# @package _global_\nbits: {weight: 3, activation: 5}\n")
    (conf / "sweep/mysweep.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      bits.weight: '3,4'\n"
    )
    return conf


@pytest.mark.slow
def test_a_run_with_configurations_of_its_own_goes_on(
    mrecg: Call, quick: list[str], own_conf: Path, interrupted: Callable[[], None]
) -> None:
    interrupted()
    begun = ["-cd", str(own_conf), "experiment=mine", "name=n-${seed}", "resume=never", "hydra.run.dir=one"]
    code, _, err = mrecg("quantize", *quick, *begun)
    assert code == 130 and go_on(err) == ["quantize", "resume=one"]
    kept = (Path("one/.hydra/overrides.yaml").read_text(), Path("one/config.yaml").read_text())

    # Nothing of what Hydra has kept is read: neither aliases nor pipes there matter.
    Path("one/.hydra/overrides.yaml").write_text("&a [*a, *a]\n")
    interrupted()
    code, _, err = mrecg("quantize", "-cd", str(own_conf), "resume=one", "logger=csv")
    assert code == 130 and go_on(err) == ["quantize", "resume=one"]
    code, _, err = mrecg("quantize", "resume=one", "seed=1")
    assert code == 2 and "seed: 0 there, 1 here" in err.splitlines()[-1]
    code, _, err = mrecg("quantize", "-m", "resume=one", "seed=1,2")
    assert (
        code == 2
        and err.splitlines()[-1] == "mrecg: resume=one: is one run, but -m asks for several; leave -m out"
    )

    code, _, err = mrecg("quantize", "resume=one")
    assert code == 0, err
    summary = json.loads(Path("one/summary.json").read_text())
    assert summary["status"] == "completed" and summary["run_name"] == "n-0"
    assert "weight: 3" in kept[1] and "experiment=mine" in kept[0]
    assert Path("one/.hydra/overrides.yaml").read_text() == "&a [*a, *a]\n"


@pytest.mark.slow
def test_a_sweep_with_configurations_of_its_own_goes_on(
    mrecg: Call, quick: list[str], own_conf: Path
) -> None:
    words = ["-cd", str(own_conf), "experiment=mine", "sweep=mysweep", "hydra.sweep.dir=s1"]
    code, _, err = mrecg("quantize", *quick, *words)
    assert code == 0, err
    jobs = read_jobs(Path("s1"))
    content = json.loads(Path("s1/sweep.json").read_text())
    assert [job["changes"] for job in content["jobs"]] == [
        {},
        {"name": jobs[1].config["name"], "bits": jobs[1].config["bits"]},
    ]
    assert content["launch"]["config_dir"] == str(own_conf) and content["launch"]["sweeper"] == "grid"
    for more in ([], ["-cd", str(own_conf)]):
        shutil.rmtree(f"s1/{jobs[1].folder}")
        kept = Path(f"s1/{jobs[0].folder}/summary.json").read_bytes()
        code, out, err = mrecg("sweep", "resume", "s1", *more)
        assert code == 0, err
        assert "all 2 jobs are done" in out
        assert json.loads(Path(f"s1/{jobs[1].folder}/summary.json").read_text())["bits"]["weight"] == 4
        assert Path(f"s1/{jobs[0].folder}/summary.json").read_bytes() == kept
        assert read_jobs(Path("s1")) == jobs


@pytest.mark.slow
def test_a_sweep_of_an_earlier_version_goes_on(mrecg: Call, quick: list[str]) -> None:
    Path("old").mkdir()
    manifest = {"schema_version": 1, "command": "", "verb": "quantize", "jobs": []}
    words = [*quick, "bits.weight=3,4", "allow_import=true", "hydra.sweeper.max_batch_size=1"]
    Path("old/sweep.json").write_text(json.dumps({**manifest, "arguments": words}))
    code, out, err = mrecg("sweep", "resume", "old")
    assert code == 0, err
    assert "all 2 jobs are done" in out and all(job.config for job in read_jobs(Path("old")))


def test_a_refused_start_changes_nothing(mrecg: Call, quick: list[str]) -> None:
    folder = Path("one")
    (folder / ".hydra").mkdir(parents=True)
    for name in ("overrides.yaml", "config.yaml", "hydra.yaml"):
        (folder / ".hydra" / name).write_text("of the first\n")
    (folder / "run.log").write_text("of the first\n")
    with run_lock(folder):
        for verb in ("quantize", "plan", "evaluate"):
            code, _, err = mrecg(verb, *quick, "seed=9", "hydra.run.dir=one")
            assert code == 2 and "works in it; wait, or choose another folder" in err.splitlines()[-1]
        left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert left == {
            ".hydra/overrides.yaml",
            ".hydra/config.yaml",
            ".hydra/hydra.yaml",
            "run.log",
            "run.lock",
        }
        for name in left - {"run.lock"}:
            assert (folder / name).read_text() == "of the first\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_folder_may_be_called_anything(
    name: str, mrecg: Call, quick: list[str], interrupted: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    typed = name.replace("${", "\\${")  # to Hydra this is a name; ${x} is another value
    interrupted()
    code, _, err = mrecg("quantize", *quick, f"hydra.run.dir={typed}")
    assert code == 130, err
    assert Path(name, "config.yaml").is_file() and [path.name for path in Path.cwd().iterdir()] == [name]
    words = go_on(err)
    assert words == ["quantize", f"resume={name}"]
    interrupted()
    code, _, err = mrecg(*words)
    assert code == 130 and go_on(err) == words
    assert [path.name for path in Path.cwd().iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_folder_may_be_called_anything(
    name: str, mrecg: Call, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", stop)
    typed = name.replace("${", "\\${")
    code, _, err = mrecg("quantize", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={typed}")
    assert code == 130, err
    assert [path.name for path in Path.cwd().iterdir()] == [name]
    words = go_on(err)
    assert words == ["sweep", "resume", f"./{name}" if name.startswith("-") else name]
    code, _, err = mrecg(*words)
    assert code == 130 and go_on(err) == words, err
    assert [path.name for path in Path.cwd().iterdir()] == [name]
    code, out, err = mrecg("sweep", "status", "--json", words[-1])
    assert code in (0, 1) and len(json.loads(out)["jobs"]) == 2, err


def test_a_package_in_the_current_folder_is_found(mrecg: Call, tmp_path: Path) -> None:
    before = list(sys.path)
    try:
        words = ["planner=modcap", "data=none", "model=target", "model.input_shape=[3,8,8]", "model.name=x"]
        code, _, err = mrecg("plan", *words, "model.target=mine_here.nets.build")
        assert code == 2 and err == (
            "mrecg: mine_here.nets.build: cannot be imported: mine_here is neither installed nor in the "
            "current folder; install it, or add the folder that holds it to PYTHONPATH\n"
        )
        assert sys.path == before and not list(tmp_path.iterdir())
        Path("mine_here").mkdir()
        Path("mine_here/nets.py").write_text("from tiny_net import build\n")
        Path("yaml.py").write_text("raise RuntimeError('what is installed comes first')\n")
        code, _, err = mrecg("plan", *words, "model.target=mine_here.nets.build")
        assert code == 0, err
        assert sys.path == [*before, str(tmp_path)]
    finally:
        sys.path[:] = before
