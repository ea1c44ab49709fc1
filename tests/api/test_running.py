"""A run from Python is a run folder from its first step on: it resumes, logs, and tells its callbacks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from brought import images, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mrecg
from mrecg.api.running import failures_told
from mrecg.config.validate import run_config
from mrecg.errors import CheckpointError, ConfigError, DataError, Interrupted
from mrecg.reconstruct.events import CurvePoint, UnitResult
from mrecg.runs.layout import CHECKPOINT

X, Y = images(12), torch.arange(12) % 5
SETTINGS: dict[str, Any] = {
    "weight_bits": 4, "activation_bits": 8, "method": "qdrop", "granularity": "layer", "steps": 6,
    "trainer": {"threads": 1, "batch_size": 4, "chunk": 2, "log_every": 2}, "checkpoint": {"every_steps": 2},
    "calibration": {"candidates": 4, "bins": 64}, "progress": False,
}  # fmt: skip
SAME = ("quantized.safetensors", "units.csv", "plan.json", "decisions.csv", "config.yaml", "images.json")


class Interrupting(mrecg.Callback):
    """Presses Ctrl-C in the middle of the second unit."""

    def __init__(self) -> None:
        self.units: list[str] = []

    def unit(self, index: int, result: UnitResult) -> None:
        self.units.append(result.name)

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        if len(self.units) == 1 and points[-1].step >= 2:
            raise KeyboardInterrupt


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), 5, shuffle=True)


def start(folder: Path, **settings: Any) -> mrecg.Result:
    given = {"evaluation": loader(), "save_to": folder, **SETTINGS, **settings}
    return mrecg.quantize(network(), loader(), **given)


def other_network() -> nn.Module:
    """The network with other weights."""
    other = network()
    with torch.no_grad():
        other.get_submodule("3").weight.add_(1)  # type: ignore[operator, union-attr]
    return other


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    start(folder)
    return folder


@pytest.fixture
def cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "cut"
    with pytest.raises(Interrupted) as found:
        start(folder, callbacks=[Interrupting()])
    go_on = f"mrecg.resume({str(folder)!r}, model, calibration, ...)"
    assert found.value.go_on == go_on and f"continue with: {go_on}" in capsys.readouterr().err
    assert (folder / CHECKPOINT).is_dir() and not (folder / "summary.json").exists()
    assert {"config.yaml", "plan.json", "images.json", "weights.json", "units.csv"} <= {
        path.name for path in folder.iterdir()
    }
    return folder


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in SAME)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.name != "run.lock"}


@pytest.mark.parametrize("how", ["resume", "the same call"])
def test_an_interrupted_run_ends_with_the_bits_of_one_left_alone(how: str, cut: Path, whole: Path) -> None:
    heard = Interrupting()
    heard.curve = lambda *args: None  # type: ignore[method-assign]
    if how == "resume":
        result = mrecg.resume(
            cut, network(), loader(), evaluation=loader(), progress=False, callbacks=[heard]
        )
    else:
        result = start(cut, callbacks=[heard])
    assert same(cut, whole) and result.folder == cut and not (cut / CHECKPOINT).exists()
    assert heard.units == [unit.name for unit in result.units]
    assert {path.name for path in (cut / "curves").iterdir()} == {
        path.name for path in (whole / "curves").iterdir()
    }
    assert (cut / "report.html").is_file()


def test_a_run_that_reads_its_own_images_is_resumed_by_its_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = run_config({"model": {"source": "embedded"}, "data": {"source": "digits"}})
    foreign = replace(
        given, model=replace(given.model, source="target", target="mine.make", input_shape=(3, 8, 8))
    )
    for config, more in ((given, ""), (foreign, ", allow_import=True")):
        with pytest.raises(Interrupted), failures_told(config, tmp_path):
            raise KeyboardInterrupt
        assert capsys.readouterr().err.endswith(f"continue with: mrecg.resume({str(tmp_path)!r}{more})\n")


def test_only_the_same_run_is_resumed(cut: Path) -> None:
    with pytest.raises(
        DataError, match=r"calibration: the 12 images \(SHA-256 .* are not those of the interr"
    ):
        mrecg.resume(cut, network(), X + 1, evaluation=loader())
    with pytest.raises(
        DataError, match=r"model: its weights \(SHA-256 .* are not those of the interrupted run"
    ):
        mrecg.resume(cut, other_network(), loader(), evaluation=loader())
    with pytest.raises(
        DataError, match=r"evaluation: the interrupted run in .* was started with one; give it"
    ):
        mrecg.resume(cut, network(), loader())
    with pytest.raises(ConfigError, match=r"its model came from Python; call mrecg.resume\(folder, model"):
        mrecg.resume(cut)
    with pytest.raises(ConfigError, match="its calibration images came from Python"):
        mrecg.resume(cut, network())
    with pytest.raises(ConfigError, match=r"other settings \(bits.weight: 4 there, 3 here\)"):
        start(cut, weight_bits=3)
    with pytest.raises(ConfigError, match=r"config.yaml: cannot be read .*is .* a run folder"):
        mrecg.resume(cut / "nothing", network(), X)
    assert (cut / CHECKPOINT).is_dir()


def test_a_complete_run_is_loaded(whole: Path) -> None:
    found = mrecg.resume(whole, network())
    assert found.folder == whole and len(found.units) == 3
    with pytest.raises(CheckpointError, match="its model was passed from Python"):
        mrecg.resume(whole)


def test_images_given_for_a_complete_run_are_its_own(whole: Path) -> None:
    before = contents(whole)
    found = mrecg.resume(whole, network(), loader(), evaluation=loader(), progress=False)
    assert found.summary["status"] == "completed"
    labels = DataLoader(TensorDataset(X, Y.flip(0)), 5)
    for given, says in (
        ({"calibration": X + 1}, r"calibration: the 12 images \(SHA-256 .* not those of the finished run"),
        ({"calibration": X[:5]}, "12 images are asked for, and there are 5"),
        ({"calibration": loader(), "evaluation": labels}, r"evaluation: the 12 images .* not those"),
    ):
        with pytest.raises(DataError, match=says):
            mrecg.resume(whole, network(), **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="its calibration images came from Python"):
        mrecg.resume(whole, network(), evaluation=loader())
    with pytest.raises(DataError, match=r"model: its weights .* not those of the finished run"):
        mrecg.resume(whole, other_network(), progress=False)
    assert contents(whole) == before


def test_a_complete_run_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    quick: dict[str, Any] = {"method": "rtn", "evaluation": None}
    start(tmp_path, **quick)
    before = contents(tmp_path)
    with pytest.raises(
        ConfigError, match=r"finished run with other .*bits.weight: 4 there, 3 here.*Python: resume=\"never\""
    ):
        start(tmp_path, weight_bits=3, **quick)
    for model, x, says in (
        (other_network(), loader(), "model: its weights .* by resume='never'"),
        (network(), X + 1, "calibration: the 12 images .* by resume='never'"),
    ):
        with pytest.raises(DataError, match=says):
            mrecg.quantize(model, x, save_to=tmp_path, **{**SETTINGS, **quick})
    assert contents(tmp_path) == before
    assert start(tmp_path, **quick).summary["bits"]["weight"] == 4  # the same run
    found = mrecg.quantize(
        network(), X + 1, save_to=tmp_path, resume="never", **{**SETTINGS, **quick, "weight_bits": 3}
    )
    assert found.summary["bits"]["weight"] == 3
    assert mrecg.load(tmp_path, model=network()).config.bits.weight == 3  # type: ignore[union-attr]


def test_a_run_that_fails_says_so_in_its_folder(tmp_path: Path) -> None:
    def broken(model: nn.Module) -> float:
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        start(tmp_path, evaluation=broken)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", "ValueError: no such file")
    assert start(tmp_path).summary["status"] == "completed"


def test_callbacks_hear_everything_without_a_folder() -> None:
    class Counting(mrecg.Callback):
        def __init__(self) -> None:
            self.steps = 0
            self.units: list[str] = []

        def unit(self, index: int, result: UnitResult) -> None:
            self.units.append(result.name)

        def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
            self.steps += steps

    heard = Counting()
    result = mrecg.quantize(network(), X, callbacks=[heard], **SETTINGS)
    assert heard.units == [unit.name for unit in result.units]
    assert heard.steps == sum(group.steps for group in result.groups) == 18


@pytest.mark.slow
def test_wandb_logs_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    start(tmp_path, logger={"wandb": "offline"})
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize("table", ["repr", "html", "units"])
def test_a_result_shows_itself_briefly(table: str, whole: Path) -> None:
    result = mrecg.load(whole, model=network())
    assert isinstance(result, mrecg.Result)
    if table == "repr":
        lines = repr(result).splitlines()
        assert len(lines) <= 6 and "top-1" in repr(result) and all(len(line) < 200 for line in lines)
    elif table == "html":
        html = result._repr_html_()
        assert html.count("<tr>") == 4 and "W4A8" in html and len(html) < 2000 and "GraphModule" not in html
    else:
        frame = result.units_frame()
        assert list(frame["unit"]) == [unit.name for unit in result.units]
        assert list(frame["error"]) == [unit.error for unit in result.units]
        assert list(frame["weight_bits"]) == ["8", "4", "8"]
        assert list(frame["weights"]) == [8 * 27, 8 * 72, 40]
        assert list(frame["bytes"]) == [216, 288, 40]
