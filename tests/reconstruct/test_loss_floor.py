"""The floor of a group's loss: what it is, what it leaves alone, and who is told of it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import CacheConfig, GranularityConfig, TrainerConfig
from mrecg.methods import MethodSettings
from mrecg.methods.brecq import Brecq
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.pd_quant import PdQuant
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.planner.plan import make_plan
from mrecg.quant.modules import quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import loss_floor as floors
from mrecg.reconstruct import optimise
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import Ahead, CurvePoint, GroupResult, Listener, Silent, UnitResult
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.loss_floor import loss_floor
from mrecg.reconstruct.merge_trials import PairTrials
from mrecg.reconstruct.rolling_cache import GroupCache
from mrecg.reconstruct.settings import Settings

Network = Callable[..., QuantizedNetwork]
MERGED = (("first", "second"), ("third", "head"))


class Diary(Silent):
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.passes: list[list[Ahead]] = []
        self.said: list[tuple[Any, ...]] = []

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        self.passes = [list(groups) for groups in passes]

    def begin(self, groups: Sequence[str], steps: int) -> None:
        self.said.append(("begin", tuple(groups), steps))

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        self.said.append(("group", name, tuple(members), steps, floor))

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        self.said.append(("curve", group, steps))

    def unit(self, index: int, result: UnitResult) -> None:
        self.said.append(("unit", result.name))

    def finished(self, result: GroupResult) -> None:
        self.said.append(("finished", result))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [said for said in self.said if said[0] == kind]


def run(
    network: QuantizedNetwork,
    images: Tensor,
    method: MethodSettings,
    *,
    groups: Sequence[Sequence[str]] = (),
    listener: Listener | None = None,
    trials: PairTrials | None = None,
) -> Reconstruction:
    kind = GranularityConfig(name="fixed" if groups else "block", groups=tuple(map(tuple, groups)))
    facts = [unit.facts for unit in network.units]
    return reconstruct(
        network,
        images,
        make_plan(facts, network.policy.layers, granularity=kind, planner=PlannerConfig(), model="tiny"),
        Settings(
            method=method,
            trainer=TrainerConfig(steps=4, batch_size=4, chunk=2, log_every=1),
            cache=CacheConfig(),
            precision=32,
            seed=0,
            eval_batch=5,
        ),
        listener=listener,
        trials=trials,
    )


def loss(out: Tensor, target: Tensor) -> float:
    out, target = out.double(), target.double()
    return float(
        (out - target).square().flatten(2).sum(1).mean()
        if out.ndim > 2
        else (out - target).square().sum(1).mean()
    )


def test_it_is_the_loss_of_the_full_precision_group_behind_the_quantized_prefix(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "STEP_SHARE", 1)  # on all images
    network = tiny_network(2, 3)
    outcome = run(network, tiny_images, QDrop(lr_rounding=0.05), groups=MERGED)
    low = full = tiny_images
    with torch.no_grad(), quantization(nn.Sequential(*network.low), activations="on"):
        for result, members in zip(outcome.groups, ([0], [1, 2], [3, 4]), strict=True):
            behind = low
            for i in members:
                full, behind, low = network.full[i](full), network.full[i](behind), network.low[i](low)
            assert result.floor == pytest.approx(loss(behind, full), rel=1e-4)
    assert outcome.groups[0].floor == 0.0  # nothing before it is quantized
    assert all(group.floor is not None and group.floor > 0 for group in outcome.groups[1:])


def test_it_is_taken_on_the_first_images_in_whole_batches() -> None:
    values = torch.randn(600, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    seen: list[int] = []

    class Unit(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x + 1

    learned = GroupCache(Store.of(values), Store.of(values), Store.of(values))
    for batch, images, expected in ((64, 10**6, [64] * 4), (100, 10**6, [100] * 2), (1000, 0, [256])):
        seen.clear()
        assert loss_floor([Unit()], learned, batch=batch, seen=images) == pytest.approx(2.0)
        assert seen == expected
    seen.clear()
    loss_floor([Unit()], learned, batch=32, seen=64 * floors.STEP_SHARE)
    assert seen == [32, 32]  # a short run pays for little
    weight = Store.of(torch.full_like(values, 3.0))
    assert loss_floor(
        [Unit()], GroupCache(learned.quantized, learned.full, learned.target, weight=weight), batch=64, seen=0
    ) == pytest.approx(6.0)


@pytest.mark.parametrize("method", [BrecqJoint(), QDrop(), PdQuant()], ids=lambda method: method.name)
def test_nothing_else_changes(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit-identical with a listener, without one, and where no floor is computed at all."""
    outcomes = []
    for kind in ("listened", "silent", "none"):
        if kind == "none":
            monkeypatch.setattr(optimise, "loss_floor", lambda *arguments, **more: 0.0)
        network = tiny_network()
        outcome = run(
            network, tiny_images, method, groups=MERGED, listener=Diary() if kind == "listened" else None
        )
        outcomes.append((network.state(), outcome.units, [group.curve for group in outcome.groups]))
    first, *others = outcomes
    for other in others:
        assert other[1:] == first[1:]
        assert all(torch.equal(value, other[0][name]) for name, value in first[0].items())


def test_listeners_are_told_in_order(tiny_network: Network, tiny_images: Tensor) -> None:
    diary = Diary()
    outcome = run(tiny_network(), tiny_images, QDrop(), groups=MERGED, listener=diary)
    assert [said[0] for said in diary.said][:5] == ["begin", "group", "curve", "curve", "unit"]
    assert [said[1:] for said in diary.of("group")] == [
        ("stem", ("stem",), 4, outcome.groups[0].floor),
        ("first+second", ("first", "second"), 8, outcome.groups[1].floor),
        ("third+head", ("third", "head"), 8, outcome.groups[2].floor),
    ]
    assert tuple(said[1] for said in diary.of("finished")) == outcome.groups
    (ahead,) = diary.passes
    assert [(each.name, each.members, each.steps, each.trial) for each in ahead] == [
        (name, members, steps, False) for _, name, members, steps, _ in diary.of("group")
    ]
    assert all(each.cost > 0 and each.task == outcome.groups[0].task for each in ahead)


@pytest.mark.parametrize("method", [Rtn(), Brecq(), PdQuant()], ids=lambda method: method.name)
def test_the_outline_announces_every_step(
    method: MethodSettings, tiny_network: Network, tiny_images: Tensor
) -> None:
    diary = Diary()
    trials = PairTrials({1, 2}) if method.name != "rtn" else None
    outcome = run(tiny_network(), tiny_images, method, listener=diary, trials=trials)
    assert [sum(each.steps for each in groups) for groups in diary.passes] == [
        s[2] for s in diary.of("begin")
    ]
    assert sum(each.steps for groups in diary.passes for each in groups) == sum(
        s[2] for s in diary.of("curve")
    )
    tried = [each.name for groups in diary.passes for each in groups if each.trial]
    assert tried == (["first+second", "second+third"] if trials else [])
    if method.name == "rtn":
        assert not diary.of("group") and [group.floor for group in outcome.groups] == [None] * 5
    if method.name == "brecq":  # the head has no activation to learn in the second pass
        assert outcome.groups[-1].floor is None and outcome.groups[-2].floor is not None
