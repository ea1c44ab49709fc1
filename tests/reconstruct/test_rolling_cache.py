"""The walk with every kind of cache: the same numbers, within bounds, nothing left behind."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiers import first_fast
from torch import Tensor, nn

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import CacheConfig, GranularityConfig, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.methods import MethodSettings
from mrecg.methods.brecq import Brecq
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.planner.plan import make_plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import CurvePoint, Listener, Silent
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings

Network = Callable[..., QuantizedNetwork]
MERGED = (("first", "second"), ("third", "head"))
GROUPS = pytest.mark.parametrize("groups", [(), MERGED], ids=["block", "merged"])
MB = 2**20
IMAGE = 4 * 3 * 8 * 8
STEM, FIRST, SECOND, THIRD, HEAD = (4 * size for size in (4 * 64, 4 * 64, 8 * 16, 8 * 16, 10))
"""Bytes of what leaves each unit, one image."""


def run(
    network: QuantizedNetwork,
    images: Tensor | Store,
    method: MethodSettings,
    groups: Sequence[Sequence[str]] = (),
    listener: Listener | None = None,
    **cache: Any,
) -> Reconstruction:
    plan = make_plan(
        [unit.facts for unit in network.units],
        network.policy.layers,
        granularity=GranularityConfig(
            name="fixed" if groups else "block", groups=tuple(tuple(group) for group in groups)
        ),
        planner=PlannerConfig(),
        model="tiny",
    )
    return reconstruct(
        network,
        images,
        plan,
        Settings(
            method=method,
            trainer=TrainerConfig(steps=3, batch_size=4, chunk=2, log_every=1),
            cache=CacheConfig(**cache),
            precision=32,
            seed=0,
            eval_batch=5,
        ),
        listener=listener,
    )


def numbers(network: QuantizedNetwork, outcome: Reconstruction) -> Any:
    state = {name: value.tolist() for name, value in network.state().items()}
    return outcome.units, [group.curve for group in outcome.groups], state


@GROUPS
@pytest.mark.parametrize("method", first_fast([QDrop(), Brecq()]), ids=["qdrop", "brecq"])
def test_a_lossless_cache_gives_the_same_bits(
    method: LearnedRounding,
    groups: Sequence[Sequence[str]],
    tiny_network: Network,
    tiny_images: Tensor,
    tmp_path: Path,
) -> None:
    network = tiny_network()
    expected = numbers(network, run(network, tiny_images, method, groups))
    for images, settings in (
        (Store.of(tiny_images), {"device": "cpu"}),
        (tiny_images, {"dtype": "uint8-exact"}),
        (tiny_images, {"device": "disk", "folder": tmp_path}),
        (tiny_images, {"dtype": "uint8-exact", "budget_mb": 0}),
    ):
        network = tiny_network()
        outcome = run(network, images, method, groups, **settings)
        assert numbers(network, outcome) == expected, settings
        assert outcome.cache.dtype == settings.get("dtype", "float32")
        assert (outcome.cache.disk_mb == 0) == (
            settings.get("device") != "disk" and "budget_mb" not in settings
        )


@GROUPS
def test_bfloat16_is_close(
    groups: Sequence[Sequence[str]], tiny_network: Network, tiny_images: Tensor
) -> None:
    exact = run(tiny_network(), tiny_images, QDrop(), groups)
    rounded = run(tiny_network(), tiny_images, QDrop(), groups, dtype="bfloat16")
    assert rounded.cache.dtype == "bfloat16"
    assert rounded.cache.peak_mb == pytest.approx(exact.cache.peak_mb / 2, abs=1e-3)
    for a, b in zip(rounded.units, exact.units, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=0.1) and a.error != b.error


@GROUPS
@pytest.mark.parametrize("method", [Rtn(), QDrop(), Brecq()], ids=["rtn", "qdrop", "brecq"])
def test_only_what_the_group_needs_is_kept(
    method: LearnedRounding, groups: Sequence[Sequence[str]], tiny_network: Network, tiny_images: Tensor
) -> None:
    # With the largest group in the middle: two inputs and the targets, then one input, targets and an output.
    most = 2 * STEM + FIRST + (SECOND if groups else 0)
    peak = run(tiny_network(), tiny_images, method, groups).cache.peak_mb
    assert peak == pytest.approx(16 * most / MB, abs=1e-3)
    assert 16 * most <= 16 * 4 * max(STEM, FIRST)
    if method.name == "qdrop" and not groups:  # the quantized input takes a quarter
        exact = run(tiny_network(), tiny_images, method, dtype="uint8-exact").cache.peak_mb
        assert exact == pytest.approx(16 * (STEM / 4 + STEM + FIRST) / MB, abs=1e-3)


@GROUPS
def test_a_small_budget_is_kept(
    groups: Sequence[Sequence[str]], tiny_network: Network, tiny_images: Tensor, tmp_path: Path
) -> None:
    images = tiny_images.repeat(40, 1, 1, 1)  # 640 images: 0.6 MB behind the stem
    cache = run(tiny_network(), images, Rtn(), groups, budget_mb=1, folder=tmp_path).cache
    whole = run(tiny_network(), images, Rtn(), groups).cache
    assert 0.5 < cache.peak_mb <= 1 < whole.peak_mb and whole.disk_mb == 0
    assert cache.peak_mb + cache.disk_mb >= whole.peak_mb - 0.01
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [{"dtype": "uint8-exact"}, {"device": "disk"}], ids=str)
@GROUPS
def test_each_unit_runs_over_all_images_once(
    groups: Sequence[Sequence[str]], settings: dict[str, Any], tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    seen = {(kind, i): 0 for kind in ("full", "low") for i in range(5)}

    def count(kind: str, i: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if not torch.is_grad_enabled():
                seen[kind, i] += len(inputs[0])

        return hook

    for kind, modules in (("full", network.full), ("low", network.low)):
        for i, module in enumerate(modules):
            module.register_forward_hook(count(kind, i))
    run(network, tiny_images, QDrop(), groups, **settings)
    floor = 5  # one batch, for so few steps
    assert seen == {(kind, i): len(tiny_images) + floor * (kind == "full") for kind, i in seen}


@pytest.mark.parametrize("error", first_fast([None, ValueError, KeyboardInterrupt]))
@pytest.mark.parametrize("during", ["curve", "unit"])
def test_nothing_is_left(
    during: str,
    error: type[BaseException] | None,
    tiny_network: Network,
    tiny_images: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stops(Silent):
        seen = 0

        def stop(self) -> None:
            self.seen += 1
            if error is not None and self.seen == 2:
                raise error

    listener = Stops()
    setattr(listener, during, lambda *_: listener.stop())
    network = tiny_network()  # calibration has a cache of its own
    made: list[Cache] = []
    enter = Cache.__enter__
    monkeypatch.setattr(Cache, "__enter__", lambda cache: made.append(cache) or enter(cache))  # type: ignore[func-returns-value]
    try:
        run(
            network,
            tiny_images,
            QDrop(),
            MERGED,
            listener,
            device="disk",
            folder=tmp_path,
            dtype="float32",
        )
        assert error is None
    except (ValueError, KeyboardInterrupt) as raised:
        assert error is not None and type(raised) is error
    assert listener.seen >= 2 and made[0].use.disk_mb > 0
    assert not list(tmp_path.iterdir())
    assert [place.used for place in made[0]._places] == [0]
    maps = Path("/proc/self/maps")
    gc.collect()
    assert not maps.is_file() or str(tmp_path) not in maps.read_text()


def test_the_images_are_the_callers(tiny_network: Network, tiny_images: Tensor) -> None:
    images, before = Store.of(tiny_images), tiny_images.clone()
    run(tiny_network(), images, Brecq())
    assert torch.equal(next(images.batches(16)), before)


def test_a_missing_folder_is_refused_before_any_work(
    tiny_network: Network, tiny_images: Tensor, tmp_path: Path
) -> None:
    class Silence(Silent):
        def begin(self, groups: Sequence[str], steps: int) -> None:
            pytest.fail("it began")

        def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
            pytest.fail("it went on")

    with pytest.raises(ConfigError, match=r"^cache\.folder: "):
        run(tiny_network(), tiny_images, QDrop(), (), Silence(), folder=tmp_path / "no")
