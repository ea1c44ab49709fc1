"""The stage of finishing in a run: what it leaves in files, what stays as it was, and how it goes on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_net
import torch
from torch import Tensor, nn

import mrecg
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain, saved_config
from mrecg.errors import CheckpointError, ConfigError
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.evaluation import Evaluations
from mrecg.reconstruct import optimise
from mrecg.reconstruct.finishing_module import NetworkFinishing
from mrecg.runs.identity import differences, identity_of
from mrecg.track.terminal import Quiet

Configure = Callable[..., RunConfig]
NETWORK = {"name": "network", "steps": 12, "lr": 1e-2, "held_out": 0.25}
WEIGHTS = "quantized.safetensors"


class Said(Quiet):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def images(count: int = 12) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def quantized(count: int = 12, **groups: Any) -> mrecg.Result:
    torch.manual_seed(0)
    x = images(count)
    labels = torch.arange(count) % 3
    return mrecg.quantize(
        tiny_net.build(classes=3).eval(),
        x,
        evaluation=torch.utils.data.TensorDataset(x, labels),
        granularity="block",
        steps=2,
        progress=False,
        weight_bits=3,
        activation_bits=3,
        **{
            "method": "rtn",
            "trainer": {"batch_size": 4, "device": "cpu"},
            "calibration": {"bins": 64, "candidates": 4},
            **groups,
        },
    )


@pytest.fixture(scope="module")
def result() -> mrecg.Result:
    return quantized(finish=NETWORK)


def test_without_it_nothing_changes(result: mrecg.Result) -> None:
    plainly, none = quantized(), quantized(finish={"name": "none", "steps": 7})
    before, same, after = (each.network.state() for each in (plainly, none, result))
    assert all(torch.equal(before[name], same[name]) for name in before)
    for summary in (plainly.summary, none.summary):
        assert not [key for key in summary if "finish" in key]
        assert set(summary["timing_s"]) == {"plan", "calibrate", "reconstruct", "evaluate"}
        assert not [key for key in summary["options"] if "finish" in key]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(("scale", "bias"))}


@torch.no_grad()
def test_the_summary_says_what_it_did(result: mrecg.Result) -> None:
    found = result.summary["finish"]
    assert found["after"] < found["before"] and found["chosen_step"] > 0
    assert (found["measure"], found["images"], found["held_out_images"]) == ("kl", 9, 3)
    assert found["checks"][0] == {"step": 0, "held_out": found["before"], "loss": None}
    assert len(found["checks"]) == 7 and result.summary["timing_s"]["finish"] > 0
    assert result.summary["options"]["finish"] == "network"
    assert result.summary["options"]["finish.steps"] == 12
    low = full = images()
    for unit, one, other in zip(result.units, result.network.low, result.network.full, strict=True):
        low, full = one(low), other(full)
        error = float((low - full).square().sum() / full.square().sum())
        assert unit.error == pytest.approx(error, rel=1e-4), "a unit's error is that before the finishing"
    assert result.summary["units"][-1]["error"] == result.units[-1].error


@pytest.mark.parametrize("method", ["qdrop", "genie_m"])
def test_it_goes_with_learned_methods_and_merges(method: str) -> None:
    merged = {"name": "fixed", "groups": [["second", "third"]]}
    groups = {"method": method, "granularity": merged}
    with_it = quantized_as(groups, finish=NETWORK)
    # The images that choose are held out from the blocks, too, so the twin finishes as well, by nothing.
    without = quantized_as(groups, finish={**NETWORK, "steps": 1, "lr": 1e-12})
    before, after = without.network.state(), with_it.network.state()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.endswith(("integers", "zero_point"))} <= same
    assert with_it.summary["finish"]["after"] <= with_it.summary["finish"]["before"]


def quantized_as(groups: dict[str, Any], **more: Any) -> mrecg.Result:
    torch.manual_seed(0)
    return mrecg.quantize(
        tiny_net.build(classes=3).eval(),
        images(),
        **{
            "steps": 2,
            "progress": False,
            "trainer": {"batch_size": 4, "device": "cpu"},
            "calibration": {"bins": 64, "candidates": 4},
            **groups,
            **more,
        },
    )


@torch.no_grad()
def test_files_hold_what_was_learned(result: mrecg.Result, tmp_path: Path) -> None:
    x = images()
    expected = result.model(x)
    assert not torch.equal(expected, quantized().model(x))
    saved = result.save(tmp_path / "run")
    for path in (saved, saved / WEIGHTS):
        torch.manual_seed(3)
        assert torch.equal(mrecg.load(path, model=tiny_net.build(classes=3).eval()).model(x), expected)
    with (saved / "units.csv").open() as file:
        assert [float(row["error"]) for row in csv.DictReader(file)] == [unit.error for unit in result.units]
    mrecg.export(result, tmp_path / "packed.safetensors", images=x)
    packed = mrecg.load(tmp_path / "packed.safetensors", model=tiny_net.build(classes=3).eval())
    assert torch.equal(packed.model(x), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("one_onnx_registry")
@pytest.mark.parametrize("name", ["q.pt2", "q.onnx"])
def test_programs_do_what_the_finished_network_does(result: mrecg.Result, tmp_path: Path, name: str) -> None:
    if name == "q.onnx":
        pytest.importorskip("onnxruntime")
    made = mrecg.export(result, tmp_path / name, images=images())
    assert made.agreements
    for one in made.agreements:
        assert one.images == 12 and one.same + len(one.ties) == 12


def test_two_images_are_needed_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(pipeline, "calibrate", refuse)
    with pytest.raises(ConfigError, match="finish: network holds some of the calibration images out, so it"):
        quantized(1, finish=NETWORK, trainer={"batch_size": 1})


def test_a_run_says_it_in_a_line_and_in_its_files(tiny_config: Configure, tmp_path: Path) -> None:
    said = Said()
    made = pipeline.run(tiny_config(finish=NETWORK, method={"name": "rtn"}), tmp_path / "run", display=said)
    (line,) = [note for note in said.notes if note.startswith("finish: ")]
    before, after = made.summary["finish"]["before"], made.summary["finish"]["after"]
    if after < before:
        assert f"KL divergence on 3 held-out calibration images {before:.4g} -> {after:.4g}, after" in line
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["finish"] == made.summary["finish"]
    with (tmp_path / "run" / "units.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error"]) for row in rows] == [unit["error"] for unit in summary["units"]]
    loaded = mrecg.load(tmp_path / "run", allow_import=True)
    assert isinstance(loaded, mrecg.Result) and loaded.summary["finish"] == summary["finish"]

    said.notes.clear()
    spoilt = pipeline.run(
        tiny_config(finish={**NETWORK, "lr": 1.0}, method={"name": "rtn"}), tmp_path / "spoilt", display=said
    )
    assert spoilt.summary["finish"]["chosen_step"] == 0
    assert any("did not fall below" in note and "stays as it was" in note for note in said.notes)


class StopError(Exception):
    pass


SAME = (WEIGHTS, "units.csv", "decisions.csv", "finishing.csv")


def same_files(one: Path, other: Path) -> None:
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (one, other))
    assert ours["finish"] == theirs["finish"] and ours["units"] == theirs["units"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first step of each chunk of a finishing; no group is optimised where `forbid` was called."""
    taken, real = list[int](), NetworkFinishing.training_step

    def noted(module: NetworkFinishing, chunk: Tensor) -> None:
        taken.append(int(chunk[0]))
        real(module, chunk)

    monkeypatch.setattr(NetworkFinishing, "training_step", noted)
    return taken


def forbid_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "fit", lambda *_, **__: pytest.fail("a group is optimised again"))


@pytest.mark.parametrize("augment", ["none", "crops"])
def test_an_interrupted_finishing_is_resumed_to_the_same_bits(
    tiny_config: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
    augment: str,
) -> None:
    config = tiny_config(finish={**NETWORK, "augment": augment}, granularity={"name": "block"})
    pipeline.run(config, tmp_path / "whole")
    assert steps == [0, 2, 4, 6, 8, 10]
    real = NetworkFinishing.step

    def stop(module: NetworkFinishing, step: int, *rest: Any) -> None:
        if step == 7:
            raise StopError
        real(module, step, *rest)

    monkeypatch.setattr(NetworkFinishing, "step", stop)
    with pytest.raises(StopError):
        pipeline.run(config, tmp_path / "stopped")
    monkeypatch.setattr(NetworkFinishing, "step", real)
    forbid_groups(monkeypatch)
    steps.clear()
    pipeline.run(config, tmp_path / "stopped")
    assert steps == [6, 8, 10], "steps are taken again"
    same_files(tmp_path / "stopped", tmp_path / "whole")
    assert not (tmp_path / "stopped" / "checkpoint").exists()


def test_one_that_was_complete_is_not_done_again(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    config = tiny_config(finish=NETWORK, granularity={"name": "block"})
    pipeline.run(config, tmp_path / "whole")
    real = Evaluations.quantized

    def stop(*_: Any, **__: Any) -> Any:
        raise StopError

    monkeypatch.setattr(Evaluations, "quantized", stop)
    with pytest.raises(StopError):
        pipeline.run(config, tmp_path / "stopped")
    monkeypatch.setattr(Evaluations, "quantized", real)
    forbid_groups(monkeypatch)
    steps.clear()
    pipeline.run(config, tmp_path / "stopped")
    assert steps == []
    same_files(tmp_path / "stopped", tmp_path / "whole")


def test_runs_share_it_where_all_agrees(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    def go(name: str, **finish: Any) -> mrecg.Result:
        steps.clear()
        config = tiny_config(
            finish={**NETWORK, **finish},
            granularity={"name": "block"},
            shared={"folder": str(tmp_path / "s")},
        )
        return pipeline.run(config, tmp_path / name)

    first = go("first")
    assert len(steps) == 6 and "finish" not in first.summary["reused_s"]
    forbid_groups(monkeypatch)
    again = go("again")
    assert steps == [] and again.summary["reused_s"]["finish"] > 0
    same_files(tmp_path / "again", tmp_path / "first")
    for values in ({"lr": 2e-2}, {"augment": "crops"}, {"biases": False}, {"steps": 11}):
        go(f"other {values}", **values)
        assert steps[0] == 0, values
    monkeypatch.undo()  # its blocks learn from the images, too, that choose in the others
    plainly = pipeline.run(
        tiny_config(granularity={"name": "block"}, shared={"folder": str(tmp_path / "s")}), tmp_path / "plain"
    )
    assert "finish" not in plainly.summary and not (tmp_path / "plain" / "finishing.csv").exists()


def rows_of(folder: Path) -> list[tuple[int, float | None, float | None]]:
    with (folder / "finishing.csv").open(newline="") as file:
        return [
            (int(row["step"]), *(float(row[key]) if row[key] else None for key in ("loss", "held_out")))
            for row in csv.DictReader(file)
        ]


def test_its_curve_is_in_the_folder_and_outlives_loading(tiny_config: Configure, tmp_path: Path) -> None:
    made = pipeline.run(tiny_config(finish=NETWORK, method={"name": "rtn"}), tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert [step for step, *_ in rows] == list(range(13))
    checks = made.summary["finish"]["checks"]
    assert [(step, held_out) for step, _, held_out in rows if held_out is not None] == [
        (check["step"], check["held_out"]) for check in checks
    ]
    assert rows[0][1] is None and all(loss is not None for _, loss, _ in rows[1:])
    loaded = mrecg.load(tmp_path / "run", allow_import=True)
    assert isinstance(loaded, mrecg.Result)
    for number, result in enumerate((made, loaded)):
        copy = result.save(tmp_path / f"copy{number}")
        assert (copy / "finishing.csv").read_bytes() == (tmp_path / "run" / "finishing.csv").read_bytes()
    (tmp_path / "run" / "finishing.csv").write_text("step,loss,held_out\n1,x,\n")
    with pytest.raises(CheckpointError, match=r"finishing\.csv: .*'x'; repeat the run, or remove the file"):
        mrecg.load(tmp_path / "run", allow_import=True)


def test_a_run_without_it_removes_what_one_before_has_left(tiny_config: Configure, tmp_path: Path) -> None:
    method = {"name": "rtn"}
    pipeline.run(tiny_config(finish=NETWORK, method=method), tmp_path / "run")
    assert (tmp_path / "run" / "finishing.csv").exists()
    again = pipeline.run(tiny_config(method=method, resume="never"), tmp_path / "run")
    assert not (tmp_path / "run" / "finishing.csv").exists() and again.finishing == ()


def test_old_folders_are_the_same_runs(tiny_config: Configure) -> None:
    config = tiny_config()
    old = {key: value for key, value in plain(config).items() if key != "finish"}
    read = saved_config(old)
    assert read == config and identity_of(read) == identity_of(config) and not differences(read, config)
    off = tiny_config(finish={"name": "none", "steps": 5})
    assert identity_of(off) == identity_of(config) and not differences(read, off)
    on = tiny_config(finish={"name": "network"})
    assert identity_of(on) != identity_of(config)
    assert "finish.name: nothing there, network here" in differences(read, on)
    assert identity_of(tiny_config(finish={"name": "network", "steps": 5})) != identity_of(on)


def test_the_full_precision_network_keeps_its_biases(result: mrecg.Result) -> None:
    torch.manual_seed(0)
    model = tiny_net.build(classes=3).eval()
    x = images()
    with torch.no_grad():
        full = nn.Sequential(*result.network.full)(x)
        torch.testing.assert_close(full, model(x), rtol=1e-4, atol=1e-5)
