"""Several processes reconstruct together: the same losses, errors and decisions as one."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_builder import Builder
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.config.schema import BitsConfig, CacheConfig, TrainerConfig
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError, DeviceError
from mrecg.graph.fold import UNFOLDED
from mrecg.methods.adaround import AdaRound
from mrecg.methods.brecq import Brecq
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.closed_form import ClosedForm
from mrecg.methods.genie_m import GenieM
from mrecg.methods.hyperparameters import LearnedRounding, MethodSettings
from mrecg.methods.pd_quant import PdQuant
from mrecg.methods.qdrop import QDrop
from mrecg.quant.affine import FakeQuant, fake_quantize
from mrecg.quant.drop import Drop
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.finishing import finish
from mrecg.reconstruct.group_state import Finished, GroupRecord, Partial
from mrecg.reconstruct.helper_process import HelperSettings, serve
from mrecg.reconstruct.helpers import Team
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.merge_trials import PairTrials
from mrecg.reconstruct.ranks import Ranks, Shard
from mrecg.reconstruct.settings import Settings
from mrecg.system import devices
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]
METHODS = [
    QDrop(lr_rounding=0.02, lr_scale=0.01),
    Brecq(lr_rounding=0.02, lr_scale=0.01, scale_steps=1.0, loss="fisher_diag"),
    BrecqJoint(lr_rounding=0.02, lr_scale=0.01, learn_zero_points=True),
    AdaRound(lr_rounding=0.02),
    GenieM(),
]
# In float32 PD-Quant compares logits that are equal up to rounding.
PRECISE = [
    *METHODS[:2],
    PdQuant(lr_rounding=0.02, lr_scale=0.01, correction_steps=0.5),
    ClosedForm(),
    QDrop(lr_rounding=0.02, start="closed_form", learn_biases=True, learn_weight_scales=True),
    QDrop(start="closed_form", learn_rounding=False, learn_biases=True, learn_weight_scales=True),
    QDrop(lr_rounding=0.02, start="closed_form", settle_steps=1.0, learn_biases=True),
]
CPU = torch.device("cpu")


def trainer(**values: Any) -> TrainerConfig:
    return TrainerConfig(**{"steps": 8, "batch_size": 6, "chunk": 3, "log_every": 1, "threads": 1, **values})


def run(
    network: QuantizedNetwork,
    images: Tensor,
    method: LearnedRounding,
    *,
    team: Team | None = None,
    trials: PairTrials | None = None,
    merged: bool = True,
    finished: Finished | None = None,
    held_out: float = 0.0,
) -> Reconstruction:
    start = reconstruct if team is None else team.reconstruct
    return start(
        network,
        images,
        plan_of(network, (("first", "second"),) if merged else ()),
        Settings(
            method=method,
            trainer=trainer(),
            cache=CacheConfig(),
            precision=32,
            seed=3,
            eval_batch=5,
            held_out=held_out,
            judged=held_out > 0,
        ),
        trials=trials,
        finished=finished,
    )


@pytest.fixture(scope="module")
def images(tiny_images: Tensor) -> Tensor:
    """37 images: the halves are unequal, and so is a part of most batches."""
    more = torch.randn(21, 3, 8, 8, generator=torch.Generator().manual_seed(8))
    return torch.cat([tiny_images, more]).contiguous(memory_format=torch.channels_last)


def compare(one: Reconstruction, two: Reconstruction, rel: float) -> None:
    assert [group.name for group in one.groups] == [group.name for group in two.groups]
    for a, b in zip(one.groups, two.groups, strict=True):
        assert [point.step for point in a.curve] == [point.step for point in b.curve]
        assert len(a.curve) == a.steps == b.steps
        assert b.floor == (None if a.floor is None else pytest.approx(a.floor, rel=rel, abs=1e-12))
        for left, right in zip(a.curve, b.curve, strict=True):
            for name in ("reconstruction", "rounding", "prediction", "total", "beta"):
                ours, theirs = getattr(right, name), getattr(left, name)
                assert ours == (None if theirs is None else pytest.approx(theirs, rel=rel)), (
                    a.name,
                    name,
                )
    for x, y in zip(one.units, two.units, strict=True):
        assert (y.error, y.loss) == pytest.approx((x.error, x.loss), rel=rel), x.name


def same_integers(one: QuantizedNetwork, two: QuantizedNetwork) -> bool:
    ours, theirs = one.state(), two.state()
    return all(torch.equal(ours[name], theirs[name]) for name in ours if name.endswith("integers"))


@pytest.fixture(scope="class")
def pair(tiny: nn.Module) -> Iterator[Team]:
    """Two processes, which do one job after the other, as in a run; they take long to start."""
    build = Builder(tiny.state_dict(), BitsConfig(weight=3, activation=3))
    with Team(build, trainer=trainer(devices=2), device=CPU) as team:
        yield team


@pytest.mark.slow
class TestTwoProcesses:
    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
    def test_are_as_one(
        self,
        method: LearnedRounding,
        pair: Team,
        tiny_network: Network,
        images: Tensor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        alone, together, counts = tiny_network(), tiny_network(), set()
        one = run(alone, images, method)
        write = Cache.write

        def counted(cache: Cache, batches: Iterator[Tensor], images: int, **more: Any) -> Store:
            counts.add(images)
            return write(cache, batches, images, **more)

        monkeypatch.setattr(Cache, "write", counted)
        two = run(together, images, method, team=pair)
        compare(one, two, 1e-5)
        assert same_integers(alone, together)
        # This process keeps every other image, and both processes together as many as one.
        assert counts == {19}
        assert two.cache.peak_mb == pytest.approx(one.cache.peak_mb, abs=0.002)

    @pytest.mark.parametrize("method", PRECISE)
    def test_are_as_one_in_double_precision(
        self, method: MethodSettings, pair: Team, tiny_network: Network, images: Tensor
    ) -> None:
        alone, together = tiny_network(dtype=torch.float64), tiny_network(dtype=torch.float64)
        for network in (alone, together):
            for part in network.traced.meta[UNFOLDED].values():
                part.double()
        one = run(alone, images.double(), method)
        compare(one, run(together, images.double(), method, team=pair), 1e-9)
        assert same_integers(alone, together)

    def test_try_the_same_merges(self, pair: Team, tiny_network: Network, images: Tensor) -> None:
        tried = [PairTrials([0, 1, 3]) for _ in range(2)]
        one = run(tiny_network(), images, METHODS[0], trials=tried[0], merged=False)
        two = run(tiny_network(), images, METHODS[0], trials=tried[1], merged=False, team=pair)
        compare(one, two, 1e-5)
        assert tried[1].reach == pytest.approx(tried[0].reach, rel=1e-5)
        assert tried[1].pairs == pytest.approx(tried[0].pairs, rel=1e-5, nan_ok=True)

    @pytest.mark.parametrize(
        ("fraction", "rel"), [(0.3, 1e-5), (0.02, 1e-4)], ids=["some each", "one process has none"]
    )
    def test_judge_merges_alike(
        self, fraction: float, rel: float, pair: Team, tiny_network: Network, images: Tensor
    ) -> None:
        alone, together = tiny_network(), tiny_network()
        one = run(alone, images, METHODS[0], held_out=fraction)
        two = run(together, images, METHODS[0], held_out=fraction, team=pair)
        compare(one, two, rel)
        assert same_integers(alone, together)
        (a,), (b,) = one.verdicts, two.verdicts
        assert (a.kept, a.images) == (b.kept, b.images) == (a.kept, round(37 * fraction))
        assert (b.alone, b.merged) == pytest.approx((a.alone, a.merged), rel=1e-5)
        assert b.standard_error == (a.standard_error and pytest.approx(a.standard_error, rel=1e-4))

    def test_go_on_behind_groups_that_are_finished(
        self, pair: Team, tiny_network: Network, images: Tensor
    ) -> None:
        store = Remembers()
        first = run(tiny_network(), images, METHODS[0], team=pair, finished=store)
        store.known, store.kept = store.kept[:2], []
        middle = first.groups[2].name
        store.left = {middle: store.partials[middle]}
        network = tiny_network()
        second = run(network, images, METHODS[0], team=pair, finished=store)
        assert (first.units, [group.curve for group in first.groups]) == (
            second.units,
            [group.curve for group in second.groups],
        )
        assert not store.left

    @pytest.mark.parametrize(
        "values",
        [
            {},
            {"augment": "crops_and_flips", "boundary": 0.5},
            {"batch_size": 1},  # one of them has no image of a batch
        ],
        ids=str,
    )
    def test_finish_as_one(
        self, values: dict[str, Any], pair: Team, tiny_network: Network, images: Tensor
    ) -> None:
        config = FinishConfig(**{"name": "network", "steps": 8, "lr": 1e-2, "batch_size": 7, **values})
        settings = Settings(method=QDrop(), trainer=trainer(), seed=3, eval_batch=5)
        # In double precision: the logits are so close that a KL divergence has few digits in float32.
        alone, together = tiny_network(dtype=torch.float64), tiny_network(dtype=torch.float64)
        one = finish(alone, images.double(), config, settings)
        two = pair.finish(together, images.double(), config, settings)
        assert [point.step for point in two.points] == list(range(9))
        for left, right in zip(one.points, two.points, strict=True):
            assert right.loss == (None if left.loss is None else pytest.approx(left.loss, rel=1e-8))
            assert right.held_out == pytest.approx(left.held_out, rel=1e-8)
        assert (one.images, one.held_out_images) == (two.images, two.held_out_images)
        assert two.chosen.held_out < two.points[0].held_out
        ours, theirs = together.state(), alone.state()
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-8, atol=1e-12)

    def test_share_enough_images(self, pair: Team, tiny_network: Network, images: Tensor) -> None:
        with pytest.raises(ConfigError, match=r"trainer.devices: 2 share 1 calibration images; take fewer"):
            run(tiny_network(), images[:1], METHODS[0], team=pair)
        with pytest.raises(ConfigError, match=r"share 30 calibration images in blocks of 32"):
            run(tiny_network(), images[:30], PdQuant(), team=pair)

    def test_end_together_in_seconds(self, pair: Team, tiny_network: Network, images: Tensor) -> None:
        # The last test here: the helper dies when it sees its images.
        deadly = images.clone()
        deadly[1::2] = 666
        begin = time.perf_counter()
        with pytest.raises(DeviceError, match=r"trainer.devices: process 1 of 2: was ended by SIGKILL"):
            run(tiny_network(), deadly, METHODS[0], team=pair)
        assert time.perf_counter() - begin < 10
        processes = [process for process, _ in pair._helpers]
        pair.__exit__(DeviceError)
        assert not torch.distributed.is_initialized()
        assert processes and not any(process.is_alive() for process in processes)


class Remembers:
    """Keeps records in memory."""

    def __init__(self) -> None:
        self.known: list[GroupRecord] = []
        self.kept: list[GroupRecord] = []
        self.partials: dict[str, Partial] = {}
        self.left: dict[str, Partial] = {}
        self.every_steps, self.place = 2, ""

    def announce(self, task: object, members: object, steps: int) -> None:
        pass

    def recall(self) -> GroupRecord | None:
        return self.known[len(self.kept)] if len(self.kept) < len(self.known) else None

    def keep(self, record: GroupRecord) -> None:
        state = {name: value.clone() for name, value in record.state.items()}
        self.kept.append(replace(record, state=state))

    def recall_partial(self, name: str) -> Partial | None:
        return self.left.pop(name.split(" ", maxsplit=1)[0], None)

    def keep_partial(self, name: str, partial: Partial) -> None:
        self.partials.setdefault(name.split(" ", maxsplit=1)[0], partial)


def test_a_process_that_cannot_begin_says_why(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    monkeypatch.setattr(os, "dup2", lambda *arguments: None)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with pytest.raises(SystemExit):
        serve(HelperSettings(1, 2, 0, "cpu", 1, "fused", 32), b"no model", theirs)
    team = Team(lambda: None, trainer=trainer(devices=2), device=CPU)  # type: ignore[arg-type,return-value]
    process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(1,))
    process.start()
    team._helpers = [(process, ours)]
    team._store = SimpleNamespace(check=lambda keys: False)  # type: ignore[assignment]
    with pytest.raises(DeviceError, match=r"trainer.devices: process 1 of 2: UnpicklingError: "):
        team._connect()


def test_a_model_that_cannot_be_sent_is_refused(tiny: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"trainer.devices: 2: the model cannot be sent"):
        Team(lambda: None, trainer=trainer(devices=2), device=CPU).__enter__()  # type: ignore[arg-type,return-value]


def test_wrong_device_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, message in (
        ({"devices": 0}, "trainer.devices: 0 is not right"),
        ({"devices": 2, "cuda_graphs": True}, "trainer.cuda_graphs: goes with trainer.devices=1 only"),
        ({"devices": 2, "device": "cuda:1"}, "set trainer.device=cuda instead of cuda:1"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_config({"trainer": values})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.resolve_device("auto", 2).type == "cuda"
    assert devices.resolve_device("cpu", 64).type == "cpu"
    with pytest.raises(ConfigError, match=r"trainer.devices: 3 are requested, 2 GPUs found"):
        devices.resolve_device("auto", 3)


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_has_one_owner(world: int, block: int) -> None:
    shards = [Shard(20, Ranks(rank, world), block) for rank in range(world)]
    assert sorted(torch.cat([shard.owned for shard in shards]).tolist()) == list(range(20))
    assert [sum(shard.before(n) for shard in shards) for n in range(21)] == list(range(21))
    batch = torch.randperm(20)[:9]
    parts = [shard.part(batch) for shard in shards]
    assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(9))
    for shard, part in zip(shards, parts, strict=True):
        assert torch.equal(shard.owned[part.own], batch[part.rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 4, 3, 2), (6, 3, 5, 3), (6, 16), (6, 5)])
def test_rows_of_a_batch_get_the_masks_of_the_batch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    kept, dropped = torch.randn(2, *shape, dtype=dtype)
    kept, dropped = (
        x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in (kept, dropped)
    )
    rows = torch.tensor([1, 2, 5])
    scale = torch.tensor([0.3], dtype=dtype)
    whole, part = Drop(0.5, 7), Drop(0.5, 7)
    part.rows = rows
    assert torch.equal(part.mix(kept[rows], dropped[rows]), whole.mix(kept, dropped)[rows])
    draws = whole.draw(), part.draw()
    assert torch.equal(draws[1].mask(kept[rows]), draws[0].mask(kept)[rows])
    found = []
    for draw, values, upstream in ((draws[0], kept, dropped), (draws[1], kept[rows], dropped[rows])):
        x = values.clone().requires_grad_()
        own = scale.clone().requires_grad_()
        out = fake_quantize(x, own, FakeQuant(3.0, 7, draw=draw))
        pulled = (
            upstream
            if draw.rows is not None
            else torch.zeros_like(upstream).index_copy(0, rows, upstream[rows])
        )
        out.backward(pulled)
        found.append((out.detach(), x.grad, own.grad))
    (out, grad, learned), (own_out, own_grad, own_learned) = found
    assert torch.equal(out[rows], own_out) and torch.equal(grad[rows], own_grad)
    assert own_learned == pytest.approx(float(learned), rel=1e-5)
