"""A package that is not ours brings a method and a criterion; docs/how-to/extending.md shows it."""

import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mrecg as api
from mrecg import registry
from mrecg.errors import ConfigError
from mrecg.methods import METHODS
from mrecg.registry import CRITERIA, DATA, FORMATS
from mrecg.runs.load import load_run
from mrecg.testing import CRITERION_CHECKS, METHOD_CHECKS

DOCS = Path(__file__).parents[2] / "docs"
Call = Callable[..., Any]


def install(folder: Path, module: Path, project: dict[str, Any]) -> None:
    """Write what a wheel's installation writes: the module, and the entry points beside it."""
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    shutil.copy(module, folder)
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())
        for group, found in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(points))


def clear() -> None:
    """Forget what is installed."""
    registry._all.cache_clear()
    registry._installed.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are installed into; afterwards nothing of them is left."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    clear()
    before = set(sys.modules)
    yield folder
    clear()
    for kinds in (METHODS, CRITERIA, FORMATS, DATA):
        for name in kinds._things.keys() - kinds._own.keys():
            del kinds._things[name]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def example(site: Path) -> Path:
    """The package of docs/plugin, installed."""
    project = tomllib.loads((DOCS / "plugin" / "pyproject.toml").read_text())["project"]
    install(site, DOCS / "plugin" / "mrecg_example.py", project)
    return site


def test_the_page_shows_the_files_as_they_are() -> None:
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", (DOCS / "how-to" / "extending.md").read_text(), re.S)
    names = ("mrecg_example.py", "pyproject.toml", "noise_and_state.py")
    files = [(DOCS / "plugin" / name).read_text() for name in names]
    assert blocks[:3] == files
    assert len(files[0].splitlines()) <= 40


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("check", METHOD_CHECKS)
def test_its_method_passes_the_checks(check: Callable[[str], None]) -> None:
    check("two_pass")


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("check", CRITERION_CHECKS)
def test_its_criterion_passes_the_checks(check: Callable[[str], None]) -> None:
    check("weights")


@pytest.mark.usefixtures("example")
def test_it_is_planned_quantized_resumed_and_reported(
    mrecg: Call, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in small if not word.startswith(("method", "planner", "granularity"))]
    words += ["method=two_pass", "method.second_steps=0.5", "planner=weights", "planner.merge_count=1"]
    words += ["granularity=mixed", "shared.folder=null", "hydra.run.dir=run"]
    code, out, err = mrecg("plan", *words)
    assert code == 0 and "Number of weights" in out, err
    real, fitted = api_fit(), []

    def fit(*arguments: Any, **more: Any) -> Any:
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(1)
        return real(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr("mrecg.reconstruct.optimise.fit", fit)
        assert mrecg("quantize", *words).code == 130
    code, out, err = mrecg("quantize", "resume=run", "allow_import=true")
    assert code == 0, err
    run = load_run(Path("run"))
    assert (run.method, run.planner, run.options["method.second_steps"]) == ("two_pass", "weights", "0.5")
    assert {curve.stage for curve in run.curves} == {"", "scales"}
    assert run.plan is not None and run.plan.criteria[0].title == "Number of weights"
    code, out, err = mrecg("report", "run", "--out", "page.html")
    assert code == 0 and "two_pass" in out, err
    assert "Number of weights" in Path("run", "plan.json").read_text()


def api_fit() -> Callable[..., Any]:
    from mrecg.reconstruct import optimise

    return optimise.fit


@pytest.mark.usefixtures("example")
def test_a_sweep_takes_both(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if not word.startswith(("method", "planner", "granularity"))]
    axes = ["method=qdrop,two_pass", "planner=weights", "planner.merge_count=1", "granularity=mixed"]
    code, out, err = mrecg("quantize", "-m", *words, *axes, "hydra.sweep.dir=sweep")
    assert code == 0 and "all 2 jobs are done" in out, err
    assert "two_pass" in out and "2 done" in mrecg("sweep", "status", "sweep").out
    listed = mrecg("quantize", "--help").out
    assert "with method=two_pass" in listed and "method.second_steps" in listed and "weights" in listed


@pytest.mark.usefixtures("example")
def test_python_takes_them(tiny: Any, tiny_images: Any) -> None:
    result = api.quantize(
        tiny,
        tiny_images,
        method={"name": "two_pass", "second_steps": 0.5},
        planner={"name": "weights", "merge_count": 1},
        steps=2,
        trainer={"batch_size": 4},
        calibration={"bins": 64, "candidates": 4},
        progress=False,
    )
    assert [group.task for group in result.groups][-1] == "scales"
    assert result.summary["options"]["method.second_steps"] == 0.5
    assert api.plan(tiny, planner="weights", merge_count=1).merges[0].difference is not None


def test_a_package_that_cannot_be_loaded_harms_nobody_else(
    mrecg: Call, small: list[str], site: Path, tmp_path: Path
) -> None:
    module = tmp_path / "broken_plugin.py"
    module.write_text("import no_such_package_at_all\n")
    points = {
        group: {"broken": "broken_plugin"} for group in ("mrecg.methods", "mrecg.criteria", "mrecg.data")
    }
    install(site, module, {"name": "broken-plugin", "version": "1", "entry-points": points})
    assert mrecg("plan", *small, "planner=modcap").code == 0
    for word, kind in (
        ("method=broken", "method"),
        ("planner=broken", "planner"),
        ("data=broken", "data.source"),
    ):
        code, _, err = mrecg("quantize", *small, word)
        assert code == 2 and len(err.splitlines()) == 1
        assert f"{kind}: broken of the package broken-plugin cannot be loaded (No module named" in err
    code, _, err = mrecg("plan", *small, "method=brokn")
    assert code == 2 and "did you mean 'broken'?" in err


def test_a_package_that_does_not_register_what_it_names(site: Path, tmp_path: Path) -> None:
    module = tmp_path / "forgetful.py"
    module.write_text("")
    points = {"mrecg.formats": {"paper": "forgetful"}}
    install(site, module, {"name": "forgetful", "version": "1", "entry-points": points})
    with pytest.raises(ConfigError, match="forgetful does not register it"):
        FORMATS.get("paper")


@pytest.mark.usefixtures("site")
def test_names() -> None:
    with pytest.raises(ConfigError, match=r"^method: qdrop is one of mrecg's own; choose another name"):
        METHODS.add("qdrop", METHODS.get("rtn"))
    with pytest.raises(ConfigError, match="is no name"):
        METHODS.add("My Method", METHODS.get("rtn"))
    METHODS.add("mine", METHODS.get("rtn"))
    METHODS.add("mine", METHODS.get("qdrop"))  # as when a notebook's cell runs again
    assert METHODS.get("mine") is METHODS.get("qdrop") and METHODS.names()[-1] == "mine"
    with pytest.raises(ConfigError, match=r"'nime' is not a choice.*rtn, closed_form, adaround, .*mine"):
        METHODS.get("nime")


def test_a_format_and_a_source_of_images(mrecg: Call, small: list[str], site: Path, tmp_path: Path) -> None:
    module = DOCS / "plugin" / "noise_and_state.py"
    points = {"mrecg.formats": {"state": module.stem}, "mrecg.data": {"noise": module.stem}}
    install(site, module, {"name": "noise-and-state", "version": "1", "entry-points": points})
    words = [word for word in small if not word.startswith("data") or "calibration_images" in word]
    words += ["data=noise", "data.calibration_arguments={images:20,classes:3}"]
    words += ["granularity=block", "hydra.run.dir=run"]
    code, _, err = mrecg("quantize", *words)
    assert code == 0, err
    run = load_run(Path("run"))
    assert (run.data, run.calibration_images, run.evaluation_images) == ("noise", 12, 0)
    code, out, err = mrecg("export", "run", "format=state", "images=4", "--allow-import")
    assert code == 0 and "state.pt" in out, err
    assert torch.load(Path("run", "state.pt"), weights_only=True).keys()
    code, _, err = mrecg("export", "run", "format=stat", "--allow-import")
    assert code == 2 and "did you mean 'state'?" in err
    code, _, err = mrecg("evaluate", "run/state.pt", *words[:5])
    assert code == 2 and "is no file that can be evaluated; choose from .onnx, .pt2, .safetensors" in err
