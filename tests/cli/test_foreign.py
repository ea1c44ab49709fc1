"""A folder from elsewhere is data: nothing in it runs, reads the environment, connects, or writes outside."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mrecg.config.validate import plain, run_config
from mrecg.pipeline import run as pipeline
from mrecg.runs.manifest import Launch, read_launch

Call = Callable[..., Any]
CODE = (
    "import pathlib; pathlib.Path({canary!r}).write_text('ran')\ndef build(**_): raise RuntimeError('ran')\n"
)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that must not be there at the end, code that would write it, and no network."""
    file = tmp_path / "canary"
    (tmp_path / "evil.py").write_text(CODE.format(canary=str(file)))
    (tmp_path / "conf/experiment").mkdir(parents=True)
    target = f"hydra: {{callbacks: {{x: {{_target_: shutil.copyfile, src: evil.py, dst: {file}}}}}}}\n"
    (tmp_path / "conf/experiment/evil.yaml").write_text(f"# @package _global_\n{target}")
    monkeypatch.setenv("SECRET", "xyzzy")

    def connect(*_: object) -> None:
        file.write_text("connected")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(pipeline, "run", lambda *_, **__: file.write_text("begun"))
    yield file
    assert not file.exists(), file.read_text()


def theirs(folder: str, **values: Any) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    groups = {**plain(run_config({"shared": {"folder": None}})), **values}
    Path(folder, "config.yaml").write_text(yaml.safe_dump(groups))


def model(**values: Any) -> dict[str, Any]:
    return {"source": "target", "name": "x", "input_shape": [3, 8, 8], **values}


DATA = {"source": "dataset", "calibration_dataset": "evil.build"}
CONFIGS: dict[str, dict[str, Any]] = {
    "code": {"model": model(target="evil.build")},
    "system": {"model": model(target="os.system", arguments={"command": "touch canary"})},
    "own prefix": {"model": model(target="torchvision.models._api.partial")},
    "data set": {"data": DATA},
    "evaluation": {"data": {**DATA, "calibration_dataset": "evil.build", "evaluation_dataset": "evil.build"}},
    "consent": {"allow_import": True, "model": model(target="evil.build")},
    "url": {"model": {"checkpoint": "http://127.0.0.1:9/${oc.env:SECRET}.pth"}},
    "https": {"model": {"checkpoint": "https://127.0.0.1:9/a.pth"}},
    "hub": {"model": {"source": "timm", "name": "x", "arguments": {"model_name": "hf-hub:a/b"}}},
    "W&B": {"logger": {"wandb": "online", "entity": "somebody"}},
    "hydra": {"hydra": {"callbacks": {"x": {"_target_": "os.system", "command": "touch canary"}}}},
    "defaults": {"defaults": ["/experiment/evil"]},
    "searchpath": {"hydra": {"searchpath": ["file://conf"]}},
    "interpolation": {"seed": "${oc.env:SECRET}"},
    "resume": {"resume": "elsewhere"},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_folder_is_data(name: str, mrecg: Call, canary: Path) -> None:
    theirs("theirs", **CONFIGS[name])
    # What earlier versions believed is not even read.
    Path("theirs/.hydra").mkdir()
    Path("theirs/.hydra/overrides.yaml").write_text("[--config-dir=conf, experiment=evil, allow_import=true]")
    code, out, err = mrecg("quantize", "resume=theirs")
    assert code == 2 and len(err.splitlines()) == 1 and "theirs" in err, err
    assert "xyzzy" not in out + err and not list(Path("theirs").glob("*.json"))


WORDS = {
    "code": ["model=target", "model.target=evil.build", "model.name=x", "model.input_shape=[3,8,8]"],
    "consent": ["model=target", "model.target=evil.build", "model.input_shape=[3,8,8]", "allow_import=true"],
    "flag": ["--config-dir=conf", "experiment=evil"],
    "short flag": ["-cd", "conf", "experiment=evil"],
    "searchpath": ["hydra.searchpath=[file://conf]", "experiment=evil"],
    "path": ["experiment=../../../../../../../../{here}/conf/experiment/evil"],
    "callback": ["+hydra.callbacks.x._target_=os.system", "+hydra.callbacks.x.command=touch canary"],
    "launcher": ["hydra.launcher._target_=evil.build"],
    "rerun": ["--experimental-rerun=evil.pickle"],
    "environment": ["name='${oc.env:SECRET}'"],
    "escaped": ["name=$\\{oc.env:SECRET\\}"],
    "url": ["model.checkpoint='http://127.0.0.1:9/a.pth'"],
    "url of the environment": ["model.checkpoint='http://127.0.0.1:9/${oc.env:SECRET}.pth'"],
    "log": ["hydra.job_logging.handlers.file.filename={here}/canary"],
    "folder": ["hydra.sweep.dir={here}/canary"],
    "other": ["resume=other"],
    "evaluate": ["run=other", "allow_import=true"],
    "file": ["path=x.pt2", "allow_import=true"],
}


@pytest.mark.parametrize("name", WORDS)
def test_a_sweep_of_an_earlier_version_is_data(name: str, mrecg: Call, canary: Path) -> None:
    words = [word.replace("{here}", str(canary.parent)) for word in WORDS[name]]
    theirs("other", **CONFIGS["code"])
    Path("theirs").mkdir()
    manifest = {"schema_version": 1, "command": "", "verb": "quantize", "arguments": words, "jobs": []}
    Path("theirs/sweep.json").write_text(json.dumps(manifest))
    code, out, err = mrecg("sweep", "resume", "theirs")
    assert code == 2 and len(err.splitlines()) == 1, err
    assert "xyzzy" not in out + err


@pytest.mark.parametrize("verb", ["evaluate", "plan", "export", "x"])
def test_a_sweep_is_of_quantize(verb: str, mrecg: Call, canary: Path) -> None:
    Path("theirs").mkdir()
    words = ["run=theirs/run", "allow_import=true"]
    manifest = {"schema_version": 1, "command": "", "verb": verb, "arguments": words, "jobs": []}
    Path("theirs/sweep.json").write_text(json.dumps(manifest))
    code, _, err = mrecg("sweep", "resume", "theirs")
    assert code == 2 and "theirs/sweep.json: cannot be read" in err and len(err.splitlines()) == 1


def recorded(settings: dict[str, Any], *, folder: str = "0-x", launcher: tuple[str, ...] = ()) -> None:
    job = {"number": 0, "identity": "0" * 16, "folder": folder, "overrides": [], "changes": {}}
    launch = {**vars(Launch(sweeper="grid")), "launcher": launcher}
    manifest = {"schema_version": 1, "command": "", "verb": "quantize", "arguments": [], "jobs": [job]}
    Path("theirs").mkdir(exist_ok=True)
    Path("theirs/sweep.json").write_text(json.dumps({**manifest, "launch": launch, "settings": settings}))
    assert read_launch(Path("theirs")).sweeper == "grid"


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "resume"])
def test_a_recorded_sweep_is_data(name: str, mrecg: Call, canary: Path) -> None:
    recorded({**plain(run_config({})), **CONFIGS[name]})
    code, out, err = mrecg("sweep", "resume", "theirs")
    assert code == 2 and len(err.splitlines()) == 1 and "theirs" in err, err
    assert "xyzzy" not in out + err


@pytest.mark.parametrize(
    "word", ["hydra.launcher._target_=evil.build", "--config-dir=conf", "experiment=/evil"]
)
def test_a_recorded_launcher_is_data(word: str, mrecg: Call, canary: Path) -> None:
    recorded(plain(run_config({})), launcher=(word,))
    code, _, err = mrecg("sweep", "resume", "theirs")
    assert code == 2 and err.startswith("mrecg: theirs: ") and len(err.splitlines()) == 1


def link(name: str, target: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).symlink_to(target)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "run.lock",
            "run.log",
            "units.csv",
            "curves",
            ".hydra",
            ".hydra/config.yaml",
            ".hydra/overrides.yaml",
        ),
        *("checkpoint", "checkpoint/x.entry", "curves/a.csv", "wandb"),
    ],
)
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_a_run_writes_through_no_link(name: str, kind: str, mrecg: Call, canary: Path) -> None:
    theirs("theirs")
    victim, place = Path("victim").absolute(), Path("theirs", name)
    place.parent.mkdir(exist_ok=True)
    victim.write_text("untouched")
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        os.link(victim, place)
    code, _, err = mrecg("quantize", "resume=theirs")
    assert code in (1, 2) and len(err.splitlines()) == 1 and f"theirs/{Path(name).parts[0]}" in err, err
    assert victim.read_text() == "untouched" and [path.name for path in Path.cwd().glob("vic*")] == ["victim"]


@pytest.mark.parametrize("folder", ["0-x", "a/0-x"])
def test_a_job_stays_in_its_sweep(folder: str, mrecg: Call, canary: Path) -> None:
    recorded(plain(run_config({"shared": {"folder": None}})), folder=folder)
    Path("victim").mkdir()
    link(f"theirs/{Path(folder).parts[0]}", str(Path("victim").absolute()))
    code, _, err = mrecg("sweep", "resume", "theirs")
    assert code == 2 and "is a link, and a job would write there" in err.splitlines()[-1]
    assert not list(Path("victim").iterdir())


def within_seconds(call: Callable[[], Any], seconds: float = 60) -> Any:
    """Call what may wait for ever for a pipe."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits"
    return found[0]


def test_no_reader_waits_for_a_pipe(tmp_path: Path) -> None:
    from mrecg.errors import MrecgError
    from mrecg.pipeline.result import load
    from mrecg.runs.identity import read_config
    from mrecg.runs.load import load_run
    from mrecg.runs.lock import locked
    from mrecg.runs.manifest import read_command
    from mrecg.runs.sweep_status import read_sweep
    from mrecg.sweep.job_state import state

    for name in (
        "config.yaml",
        "summary.json",
        "sweep.json",
        "run.lock",
        "plan.json",
        "quantized.safetensors",
    ):
        os.mkfifo(tmp_path / name)

    def call(read: Callable[[Path], Any]) -> str:
        try:
            return str(read(tmp_path))
        except MrecgError as error:
            return str(error)

    for read in (read_config, load_run, read_sweep, load, read_command):
        said = within_seconds(lambda read=read: call(read))
        assert str(tmp_path) in said and ("is no file" in said or "no " in said), said
    assert within_seconds(lambda: call(state)) == "open"
    assert within_seconds(lambda: call(locked)) == "False"


@pytest.mark.slow
def test_a_strange_shelf_is_not_used(mrecg: Call, canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(pipeline, "run", lambda config, *_, **__: ran.append(config) or exit(0))
    outside = Path.cwd() / "outside"
    outside.mkdir()
    (Path.cwd() / "here").mkdir()
    os.chdir("here")
    theirs("theirs", shared={"folder": str(outside), "limit_mb": 1})
    for words, used in (([], None), ([f"shared.folder={outside}", "shared.limit_mb=2"], outside)):
        _, _, err = mrecg("quantize", "resume=theirs", *words)
        assert ran.pop().shared.folder == used, err
        assert ("nothing is shared there" in err) == (used is None)
    (outside / f"group-{'a' * 32}.entry").touch()
    mrecg("quantize", "resume=theirs")
    assert ran.pop().shared.folder == outside  # a run has used it before
