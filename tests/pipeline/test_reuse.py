"""What runs share: the same bits as alone, and only where everything agrees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiers import first_fast
from torch import Tensor

from mrecg.config.schema import RunConfig
from mrecg.pipeline import reuse
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result
from mrecg.quant.bit_widths import Policy
from mrecg.reconstruct import optimise
from mrecg.reconstruct.context import Context
from mrecg.system.content_store import ContentStore

Config = Callable[..., RunConfig]
BLOCK = {"granularity": {"name": "block"}}


class Spy:
    """Notes which groups are optimised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        real = optimise.fit

        def fit(context: Context, members: range, *rest: Any, **more: Any) -> Any:
            self.names.append("+".join(context.network.units[i].name for i in members))
            return real(context, members, *rest, **more)

        monkeypatch.setattr(optimise, "fit", fit)

    def taken(self) -> list[str]:
        names, self.names = self.names, []
        return names


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


@pytest.fixture
def run(tiny_config: Config, tmp_path: Path) -> Callable[..., Result]:
    def go(folder_name: str, /, *, shared: bool = True, **settings: Any) -> Result:
        folder = {"shared": {"folder": str(tmp_path / "shared")}} if shared else {}
        return pipeline.run(tiny_config(**folder, **settings), tmp_path / folder_name)

    return go


def groups(*merged: list[str]) -> dict[str, Any]:
    return {"granularity": {"name": "fixed", "groups": list(merged)}}


def same_bits(one: Result, other: Result) -> bool:
    first, second = one.network.state(), other.network.state()
    return (
        first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first)
        and one.units == other.units
        and [group.curve for group in one.groups] == [group.curve for group in other.groups]
        and [group.floor for group in one.groups] == [group.floor for group in other.groups]
    )


METHODS = ["brecq", "closed_form", "qdrop", "rtn", "adaround", "brecq_joint", "genie_m", "pd_quant"]


@pytest.mark.parametrize("method", first_fast(METHODS, keep=2))
def test_units_before_the_first_other_merge_are_reused_bit_by_bit(
    method: str, run: Callable[..., Result], spy: Spy, tmp_path: Path
) -> None:
    settings = {"method": {"name": method}}
    alone = run("alone", shared=False, **groups(["second", "third"]), **settings)
    spy.taken()
    run("block", **BLOCK, **settings)
    whole = spy.taken()
    shared = run("shared", **groups(["second", "third"]), **settings)
    assert same_bits(alone, shared)
    for name in ("units.csv", "curves/second.csv", "curves/stem.csv", "quantized.safetensors"):
        files = [tmp_path / folder / name for folder in ("alone", "shared")]
        assert files[0].exists() == files[1].exists()
        assert not files[0].exists() or files[0].read_bytes() == files[1].read_bytes()
    if method in ("rtn", "closed_form"):
        assert whole == [] and spy.taken() == []
        assert [group.reused for group in shared.groups][:3] == [True, True, False]
    else:
        assert whole[:2] == ["stem", "first"]
        assert [name for name in spy.taken() if name not in ("stem", "first")] != []
        first_pass = [group for group in shared.groups if group.task == shared.groups[0].task]
        assert [group.reused for group in first_pass][:3] == [True, True, False]
        assert shared.summary["reused_s"]["reconstruct"] > 0


def test_the_same_run_again_optimises_nothing(run: Callable[..., Result], spy: Spy) -> None:
    first = run("first", method={"name": "brecq"}, **BLOCK)
    assert len(spy.taken()) == 2 * 5 - 1  # the head has no activations to learn in the second pass
    again = run("again", method={"name": "brecq"}, **BLOCK)
    assert spy.taken() == [] and same_bits(first, again)
    assert again.summary["reused_s"]["calibrate"] > 0
    assert again.summary["quantized"] == first.summary["quantized"]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"bits": {"weight": 3}},
        {"trainer": {"steps": 3}},
        {"trainer": {"lr_factor": 2.0}},
        {"trainer": {"log_every": 2}},
        {"trainer": {"batch_size": 3}},
        {"method": {"name": "qdrop", "keep_probability": 0.75}},
        {"calibration": {"candidates": 5}},
        {"data": {"calibration_images": 15}},
        {"precision": "bf16"},
        {"reuse": "none"},
    ],
    ids=str,
)
def test_what_decides_a_number_is_never_shared(
    other: dict[str, Any], run: Callable[..., Result], spy: Spy
) -> None:
    run("first", **BLOCK)
    spy.taken()
    changed = run("other", **BLOCK, **other)
    assert spy.taken() == ["stem", "first", "second", "third", "head"]
    assert not any(group.reused for group in changed.groups)


@pytest.mark.parametrize(
    "other",
    [{"name": "x"}, {"trainer": {"chunk": 1}}, {"logger": {"project": "y"}}, {"cache": {"device": "disk"}}],
)
def test_what_decides_no_number_does_not_matter(
    other: dict[str, Any], run: Callable[..., Result], spy: Spy
) -> None:
    first = run("first", **BLOCK)
    spy.taken()
    assert same_bits(first, run("other", **BLOCK, **other)) and spy.taken() == []


def test_a_probe_and_its_trials_are_resumed_from_their_groups(
    run: Callable[..., Result], spy: Spy, tmp_path: Path
) -> None:
    budget = {"planner": {"name": "budget", "merge_boundary": True, "time_budget": 3.0}}
    alone = run("alone", shared=False, **budget)
    spy.taken()
    run("first", **budget)
    trials = spy.taken()
    for file in (tmp_path / "shared").glob("probe-*"):
        file.unlink()
    again = run("again", **budget)
    assert spy.taken() == [] and "stem+first" in trials
    assert again.plan == alone.plan and same_bits(alone, again)


def test_a_damaged_record_is_optimised_again(run: Callable[..., Result], spy: Spy, tmp_path: Path) -> None:
    first = run("first", **BLOCK)
    spy.taken()
    files = sorted((tmp_path / "shared").glob("group-*"), key=lambda file: file.stat().st_mtime_ns)
    files[2].write_bytes(files[2].read_bytes()[:-1])
    again = run("again", **BLOCK)
    assert spy.taken() == ["second"] and same_bits(first, again)


def test_a_shelf_without_room_costs_no_run(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = ContentStore.put

    def put(store: ContentStore, *arguments: Any) -> None:
        if store.folder.name == "shared":
            raise OSError(28, "No space left on device")
        real(store, *arguments)

    monkeypatch.setattr(ContentStore, "put", put)
    assert run("first", **BLOCK).summary["status"] == "completed"
    assert "shared.folder" in caplog.text and "No space left" in caplog.text


def test_images_decide(tiny: torch.nn.Module, tiny_images: Tensor, tmp_path: Path, spy: Spy) -> None:
    import mrecg

    settings: dict[str, Any] = {
        "method": "qdrop",
        "steps": 2,
        "progress": False,
        "granularity": "block",
        "trainer": {"batch_size": 4},
        "calibration": {"bins": 64, "candidates": 4},
        "shared": {"folder": str(tmp_path)},
    }
    mrecg.quantize(tiny, tiny_images, **settings)
    assert len(spy.taken()) == 5
    mrecg.quantize(tiny, tiny_images, **settings)
    assert spy.taken() == []
    mrecg.quantize(tiny, tiny_images.flip(0), **settings)
    assert len(spy.taken()) == 5


def test_a_name_on_the_list_of_code_that_matches_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(reuse.__file__).parents[1]
    listed = list(reuse.code_files(here))
    assert {
        here / "data/sampling.py",
        here / "reconstruct/activation_cache.py",
        here / "quant/kernels/loss.py",
    } <= set(listed)
    assert len(listed) == len(set(listed))
    for pattern in reuse._CODE:
        monkeypatch.setattr(reuse, "_CODE", (pattern,))
        assert list(reuse.code_files(here))
        with pytest.raises(LookupError, match="there is no such file"):
            list(reuse.code_files(tmp_path))


@pytest.mark.parametrize("package", ["mrecg", "torch", "numba", "numpy", "lightning"])
def test_another_version_is_another_result(
    package: str, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reuse.installed
    assert real(package) is not None
    config = tiny_config(shared={"folder": None})

    class Network:
        units = ()
        traced = torch.fx.symbolic_trace(torch.nn.ReLU())
        policy = Policy({}, {})

    def base() -> str:
        return reuse._base(config, Network(), torch.zeros(1))  # type: ignore[arg-type]

    before = base()
    monkeypatch.setattr(reuse, "installed", lambda name: "0" if name == package else real(name))
    assert base() != before
