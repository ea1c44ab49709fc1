"""A re-based network through a run: what a user sees, its files, what stays as it was, and how it goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottlenecks
import pytest
import torch
from torch import Tensor, nn

import mrecg
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain, saved_config
from mrecg.errors import CheckpointError
from mrecg.formats import packed
from mrecg.formats.checkpoint import dump
from mrecg.pipeline import run as pipeline
from mrecg.quant.size import widths_of
from mrecg.reconstruct import optimise
from mrecg.runs.identity import differences, identity_of
from mrecg.track.terminal import Quiet

Configure = Callable[..., RunConfig]
FULL = {"name": "full"}
WEIGHTS = "quantized.safetensors"
MODEL = {"target": "bottlenecks.build", "name": "bottlenecks", "arguments": {"seed": 2, "classes": 3}}


class Said(Quiet):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def quantized(seed: int = 2, model: nn.Module | None = None, **groups: Any) -> mrecg.Result:
    return mrecg.quantize(
        bottlenecks.build(seed) if model is None else model,
        bottlenecks.images(12),
        granularity="block",
        steps=2,
        weight_bits=4,
        activation_bits=4,
        **{
            "progress": False,
            "method": "rtn",
            "trainer": {"batch_size": 4, "device": "cpu"},
            "calibration": {"bins": 64, "candidates": 4},
            **groups,
        },
    )


@pytest.fixture(scope="module")
def result() -> mrecg.Result:
    return quantized(rebasis=FULL)


@torch.no_grad()
def test_full_precision_stays_and_the_quantized_network_changes(result: mrecg.Result) -> None:
    x = bottlenecks.images(12)
    full = nn.Sequential(*result.network.full)(x)
    torch.testing.assert_close(full, bottlenecks.build(2)(x), rtol=0, atol=1e-4)
    assert not torch.equal(result.model(x), quantized().model(x))


def test_without_it_nothing_changes(result: mrecg.Result) -> None:
    plainly, none = quantized(), quantized(rebasis={"name": "none", "images": 7})
    before, same = (each.network.state() for each in (plainly, none))
    assert before.keys() == same.keys() and all(torch.equal(before[name], same[name]) for name in before)
    for summary in (plainly.summary, none.summary):
        assert "rebasis" not in summary and not [key for key in summary["options"] if "rebasis" in key]
    assert result.summary["options"]["rebasis"] == "full"
    fewer = quantized(rebasis={"name": "full", "images": 8}).summary["options"]
    assert (fewer["rebasis"], fewer["rebasis.images"]) == ("full", 8)


def test_the_summary_says_what_was_changed(result: mrecg.Result) -> None:
    found = result.summary["rebasis"]
    assert found["images"] == 12 and "stem.0" not in found["scaled"] and "depthwise.0" in found["scaled"]
    assert found["shifted"][0][:2] == ["project", "blocks.0.project"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("method", ["qdrop", "genie_m", "pd_quant"])
def test_it_goes_with_learned_methods_and_finishing(method: str) -> None:
    made = quantized(method=method, rebasis=FULL, finish={"name": "network", "steps": 2, "held_out": 0.25})
    assert made.summary["rebasis"]["shifted"] and made.summary["finish"]["images"] == 9
    assert all(unit.error < 1 for unit in made.units)


@torch.no_grad()
@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 1))])
def test_files_hold_what_was_changed(seed: int, tmp_path: Path) -> None:
    made, x = quantized(seed, rebasis=FULL), bottlenecks.images(12)
    expected = made.model(x)
    saved = made.save(tmp_path / "run")
    with torch.random.fork_rng():
        other = bottlenecks.build(seed)
        for value in other.parameters():
            nn.init.normal_(value)
    for path in (saved, saved / WEIGHTS):
        assert torch.equal(mrecg.load(path, model=other).model(x), expected)
    mrecg.export(made, tmp_path / "packed.safetensors", images=x)
    loaded = mrecg.load(tmp_path / "packed.safetensors", model=other)
    assert torch.equal(loaded.model(x), expected)
    again = mrecg.load(saved, model=other)
    assert isinstance(again, mrecg.Result)
    assert again.summary["rebasis"] == json.loads(json.dumps(made.summary["rebasis"]))
    twice = again.save(tmp_path / "again")
    assert (twice / WEIGHTS).read_bytes() == (saved / WEIGHTS).read_bytes()


def test_a_file_for_another_network_says_so(result: mrecg.Result, tmp_path: Path) -> None:
    saved = result.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="does not fit the model"):
        mrecg.load(saved / WEIGHTS, model=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)))


@pytest.mark.parametrize(
    "rebased",
    [
        {},
        ["stem"],
        {"biases": 3, "caps": []},
        {"biases": [], "caps": ["nothing"]},
        {"biases": ["pool"], "caps": []},
    ],
)
def test_a_damaged_description_is_said(result: mrecg.Result, tmp_path: Path, rebased: Any) -> None:
    about, state = packed.loads(dump(result.network, result.config, None), "it")
    assert about["rebased"]["caps"]
    file = tmp_path / WEIGHTS
    file.write_bytes(packed.dump(state, widths_of(result.network), {**about, "rebased": rebased}))
    with pytest.raises(CheckpointError, match="its description does not fit the model: "):
        mrecg.load(file, model=bottlenecks.build(2))


@pytest.mark.usefixtures("one_onnx_registry")
@pytest.mark.parametrize("name", ["q.pt2", "q.onnx"])
@pytest.mark.slow
def test_programs_do_what_the_network_does(result: mrecg.Result, tmp_path: Path, name: str) -> None:
    if name == "q.onnx":
        pytest.importorskip("onnxruntime")
    made = mrecg.export(result, tmp_path / name, images=bottlenecks.images(12))
    assert made.agreements
    for one in made.agreements:
        assert one.images == 12 and one.same + len(one.ties) == 12


def test_a_run_says_it_in_a_line_and_is_loaded_again(tiny_config: Configure, tmp_path: Path) -> None:
    said = Said()
    config = tiny_config(model=MODEL, rebasis=FULL, method={"name": "rtn"})
    made = pipeline.run(config, tmp_path / "run", display=said)
    (line,) = [note for note in said.notes if note.startswith("rebasis: ")]
    record = made.summary["rebasis"]
    assert line == (
        f"rebasis: {len(record['shifted'])} chains of linear bottlenecks shifted, the input of "
        f"{len(record['scaled'])} depthwise convolutions scaled by channel"
    )
    loaded = mrecg.load(tmp_path / "run", allow_import=True)
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), made.model(x))


class Plain(nn.Module):
    """A network without linear bottlenecks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu()).flatten(1)


@pytest.mark.parametrize(
    ("groups", "line"),
    [
        (
            {"rebasis": {"name": "shift"}},
            "rebasis: nothing in this network can be changed: it has no sum of convolutions without an "
            "activation function that only 1x1 or unpadded ones read",
        ),
        (
            {"rebasis": {"name": "full", "shift": False}},
            "rebasis: nothing in this network can be changed: it has no depthwise convolution that alone "
            "reads a convolution with a ReLU or nothing",
        ),
        (
            {"rebasis": FULL, "bits": {"activation": 32}},
            "rebasis: no activation of this network is quantized, so nothing was changed",
        ),
    ],
)
def test_where_nothing_can_be_changed_a_line_says_so(
    groups: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said()
    monkeypatch.setattr("mrecg.api.functions.Screen", lambda _: said)
    made = quantized(model=Plain().eval(), progress=True, **groups)
    assert line in said.notes and made.summary["rebasis"] == {"shifted": [], "scaled": [], "images": 12}


def test_an_interrupted_run_comes_to_the_same_bits_and_others_take_its_calibration(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {"folder": str(tmp_path / "shared")}
    config = tiny_config(model=MODEL, rebasis=FULL, granularity={"name": "block"}, shared={"folder": None})
    whole = pipeline.run(config, tmp_path / "whole")
    config = tiny_config(model=MODEL, rebasis=FULL, granularity={"name": "block"}, shared=shared)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.FinishingStage, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config, tmp_path / "stopped")
    with monkeypatch.context() as patched:
        patched.setattr(optimise, "fit", lambda *_, **__: pytest.fail("a group is optimised again"))
        pipeline.run(config, tmp_path / "stopped")
        other = pipeline.run(config, tmp_path / "other")
    for name in ("stopped", "other"):
        assert (tmp_path / name / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert all(group.reused for group in other.groups)
    plainly = tiny_config(model=MODEL, granularity={"name": "block"}, shared=shared)
    without = pipeline.run(plainly, tmp_path / "without")
    assert not any(group.reused for group in without.groups) and whole.groups


@pytest.mark.slow
def test_planning_with_a_probe_uses_the_bases(tiny_config: Configure, tmp_path: Path) -> None:
    said = Said()
    config = tiny_config(
        model=MODEL, rebasis=FULL, planner={"name": "loss", "merge_count": 1}, shared={"folder": None}
    )
    plan, _ = pipeline.plan_only(config, display=said)
    assert [note for note in said.notes if note.startswith("rebasis: ")]
    assert plan.groups == pipeline.run(config, tmp_path / "run").plan.groups


def test_old_folders_are_the_same_runs(tiny_config: Configure) -> None:
    config = tiny_config()
    old = {key: value for key, value in plain(config).items() if key != "rebasis"}
    read = saved_config(old)
    assert read == config and identity_of(read) == identity_of(config) and not differences(read, config)
    off = tiny_config(rebasis={"name": "none", "images": 5})
    assert identity_of(off) == identity_of(config) and not differences(read, off)
    plainly = tiny_config(trainer={"cuda_graphs": False})  # the former default; the same numbers
    assert identity_of(plainly) == identity_of(config) and not differences(plainly, config)
    on = tiny_config(rebasis={"name": "shift"})
    assert identity_of(on) != identity_of(config)
    assert "rebasis.name: nothing there, shift here" in differences(read, on)


@pytest.mark.slow
def test_several_processes_have_the_same_bases(tiny_config: Configure, tmp_path: Path) -> None:
    trainer = {"devices": 2, "device": "cpu", "threads": 1}
    groups = {"model": MODEL, "rebasis": FULL, "granularity": {"name": "block"}, "shared": {"folder": None}}
    alone = pipeline.run(tiny_config(**groups), tmp_path / "alone")
    both = pipeline.run(tiny_config(**groups, trainer=trainer), tmp_path / "both")
    for one, other in zip(alone.units, both.units, strict=True):
        assert one.error == pytest.approx(other.error, rel=0.05)
