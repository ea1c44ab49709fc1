"""Merges that held-out images judge: both ways are real runs, and of the worse one nothing is left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.schema import CacheConfig, TrainerConfig
from mrecg.errors import DivergenceError
from mrecg.methods import MethodSettings
from mrecg.methods.brecq import Brecq
from mrecg.methods.qdrop import QDrop
from mrecg.planner.schedule import Plan
from mrecg.planner.verdict import Verdict
from mrecg.quant.modules import layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import optimise, safe_merges
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import Ahead, Broadcast, CurvePoint, GroupResult, Listener, Silent
from mrecg.reconstruct.held_out import divided
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.track.kept_only import KeptOnly
from mrecg.track.terminal.course import Course
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]
GROUP = ("first", "second")
QDROP = QDrop(lr_rounding=0.02, lr_scale=0.01)
SEED, SHARE = 3, 0.25


class Log(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.ahead: list[list[Ahead]] = []
        self.begun: list[int] = []
        self.steps: list[tuple[str, int, int]] = []
        self.verdicts: list[Verdict] = []
        self.done: list[str] = []

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        self.ahead = [list(groups) for groups in passes]

    def begin(self, groups: Sequence[str], steps: int) -> None:
        self.begun.append(steps)

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        self.steps.append((group, steps, len(points)))

    def judged(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)

    def finished(self, result: GroupResult) -> None:
        self.done.append(result.name)


def run(
    network: QuantizedNetwork,
    images: Tensor,
    *groups: tuple[str, ...],
    method: MethodSettings = QDROP,
    held_out: float = SHARE,
    listener: Listener | None = None,
    steps_per: Any = "unit",
) -> Reconstruction:
    return reconstruct(
        network,
        images,
        plan_of(network, groups),
        Settings(
            method=method,
            trainer=TrainerConfig(steps=6, batch_size=4, log_every=1, steps_per=steps_per),
            cache=CacheConfig(),
            seed=SEED,
            eval_batch=8,
            held_out=held_out,
            judged=True,
        ),
        listener=listener,
    )


def prefer(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Let every verdict be the same, whatever was measured; the merged way is looked at second."""
    real, calls = safe_merges.differences, [0]

    def rigged(low: Tensor, full: Tensor) -> Tensor:
        calls[0] += 1
        merged = calls[0] % 2 == 0
        return real(low, full) * 0 + ((1.0 if kept else 2.0) if merged else 1.5)

    monkeypatch.setattr(safe_merges, "differences", rigged)


def lost(network: QuantizedNetwork, images: Tensor, quantized: int) -> float:
    """Information about the class that is lost: first units quantized, the rest in full precision."""
    with torch.no_grad():
        full = nn.Sequential(*network.full)(images).double().softmax(1)
        low = nn.Sequential(*network.low[:quantized], *network.full[quantized:])(images).double().softmax(1)
    return float((full * (full / low).log()).sum(1).mean())


def same(one: QuantizedNetwork, two: QuantizedNetwork) -> bool:
    ours, theirs = one.state(), two.state()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "method", [QDROP, QDrop(learn_biases=True), Brecq()], ids=["qdrop", "biases", "brecq"]
)
def test_an_undone_merge_leaves_a_block_wise_run(
    method: MethodSettings, tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, judged = tiny_network(), tiny_network()
    expected = run(plain, tiny_images, method=method)
    prefer(monkeypatch, kept=False)
    found = run(judged, tiny_images, GROUP, method=method)
    assert [(v.group, v.kept) for v in found.verdicts] == [(GROUP, False)] and not expected.verdicts
    assert found.units == expected.units
    assert [g.name for g in found.groups] == [g.name for g in expected.groups]
    assert [g.curve for g in found.groups] == [g.curve for g in expected.groups]
    assert same(judged, plain)


def test_both_ways_are_what_the_verdict_says(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, natural, merged = tiny_network(), tiny_network(), tiny_network()
    run(plain, tiny_images)
    found = run(natural, tiny_images, GROUP)
    prefer(monkeypatch, kept=True)
    joint = run(merged, tiny_images, GROUP)
    assert [group.name for group in joint.groups][1] == "first+second"
    assert [unit.group for unit in joint.units] == [0, 1, 1, 2, 3]
    (verdict,) = found.verdicts
    held_out = tiny_images[divided(len(tiny_images), SHARE, SEED)[1]]
    assert verdict.images == len(held_out) == 4
    assert verdict.alone == pytest.approx(lost(plain, held_out, 3), rel=1e-5)
    assert verdict.merged == pytest.approx(lost(merged, held_out, 3), rel=1e-5)
    assert verdict.alone != pytest.approx(verdict.merged)
    assert verdict.kept == (verdict.merged < verdict.alone)
    assert same(natural, merged if verdict.kept else plain)


def test_nothing_learns_from_held_out_images(tiny_network: Network, tiny_images: Tensor) -> None:
    learned, held_out = divided(len(tiny_images), SHARE, SEED)
    assert sorted([*learned.tolist(), *held_out.tolist()]) == list(range(len(tiny_images)))
    assert held_out.tolist() != list(range(12, 16))  # they may be sorted by class
    other = tiny_images.clone()
    other[held_out] = torch.randn_like(other[held_out])
    one, two = tiny_network(), tiny_network()
    run(one, tiny_images)
    run(two, other)
    assert same(one, two)
    everything = tiny_network()
    run(everything, tiny_images, held_out=0.0)
    assert not same(one, everything)


def test_of_one_image_none_is_held_out(tiny_network: Network, tiny_images: Tensor) -> None:
    assert [len(divided(n, 0.1, 0)[1]) for n in (1, 2, 9, 15, 100)] == [0, 1, 1, 2, 10]
    found = run(tiny_network(), tiny_images[:1], GROUP)
    assert [verdict.images for verdict in found.verdicts] == [1]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("method", "steps_per"),
    [(QDROP, "group"), (Brecq(), "unit"), (replace(QDROP, learn_biases=True, settle_steps=0.5), "unit")],
    ids=["qdrop", "brecq", "settled"],
)
def test_steps_are_announced_and_told(
    kept: bool,
    method: MethodSettings,
    steps_per: str,
    tiny_network: Network,
    tiny_images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefer(monkeypatch, kept)
    log, told, course = Log(), Log(), Course()
    listener = Broadcast(log, course, KeptOnly(told))
    found = run(tiny_network(), tiny_images, GROUP, method=method, steps_per=steps_per, listener=listener)
    assert [(a.name, a.trial) for a in log.ahead[0]][1:4] == [
        ("first", False),
        ("second", False),
        ("first+second", True),
    ]
    assert sum(log.begun) == sum(steps for _, steps, _ in log.steps) == course.steps == course.steps_done
    assert course.units == course.units_done == 5 and course.fraction == 1.0
    assert log.verdicts == told.verdicts == list(found.verdicts)
    # What is kept alone has curves, in the order of the groups and with all its points.
    groups = [(group.name, group.steps) for group in found.groups if group.steps]
    assert list(dict.fromkeys((name) for name, _, _ in told.steps)) == list(
        dict.fromkeys(n for n, _ in groups)
    )
    assert sum(points for _, _, points in told.steps) == sum(steps for _, steps in groups)
    assert told.done == log.done == [group.name for group in found.groups]
    assert ("first+second" in told.done) == kept


@pytest.mark.parametrize(
    "method", [QDROP, replace(QDROP, start="closed_form", learn_biases=True)], ids=["nearest", "closed_form"]
)
def test_a_merge_that_diverges_in_the_middle_of_its_steps_is_undone(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch, method: MethodSettings
) -> None:
    plain, judged = tiny_network(), tiny_network()
    run(plain, tiny_images, method=method)
    real = optimise.check_bounds

    def fails(name: str, curve: Sequence[CurvePoint], steps: int) -> None:
        real(name, curve, steps)
        if "+" in name:
            assert any(
                layer.soft is not None for layer in layers_of(judged.model)
            )  # so that the check can fail
            raise DivergenceError("its loss has exploded")

    monkeypatch.setattr(optimise, "check_bounds", fails)
    found = run(judged, tiny_images, GROUP, method=method)
    (verdict,) = found.verdicts
    assert verdict.merged is None and not verdict.kept
    assert all(layer.soft is None and layer.target is None for layer in layers_of(judged.model))
    assert same(judged, plain) and torch.equal(judged.model(tiny_images), plain.model(tiny_images))


def test_a_merge_that_diverges_is_undone(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, judged = tiny_network(), tiny_network()
    run(plain, tiny_images)
    real = optimise.optimise

    def fails(context: Any, members: range, *rest: Any) -> Any:
        found = real(context, members, *rest)
        if len(members) > 1:
            raise DivergenceError("its loss has exploded")
        return found

    monkeypatch.setattr(optimise, "optimise", fails)
    found = run(judged, tiny_images, GROUP)
    (verdict,) = found.verdicts
    assert verdict.merged is None and not verdict.kept and verdict.alone is not None
    assert same(judged, plain)


def test_outputs_that_are_no_logits(tiny_network: Network, tiny_images: Tensor) -> None:
    full, low = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    squares = (low - full).double().square().sum((1, 2))
    assert torch.allclose(safe_merges.differences(low, full), squares)
    logits, quantized = torch.randn(3, 4), torch.randn(3, 4)
    p, q = logits.double().softmax(1), quantized.double().softmax(1)
    assert torch.allclose(safe_merges.differences(quantized, logits), (p * (p / q).log()).sum(1))


def test_the_plan_is_what_was_carried_out(tiny_network: Network) -> None:
    network = tiny_network()
    names = tuple(unit.name for unit in network.units)
    planned = plan_of(network, (names[:2], names[2:]))
    verdict = Verdict(group=names[:2], alone=1.0, merged=2.0, standard_error=None, kept=False)
    kept = replace(verdict, group=names[2:], merged=0.5, kept=True)
    plan = planned.after([verdict, kept])
    assert plan.groups == ((names[0],), (names[1],), names[2:])
    assert [merge.left for merge in plan.merges] == list(names[2:-1])
    assert plan.verdicts == (verdict, kept) and "1 of 2 planned groups merged" in plan.note
    assert Plan.from_dict(plan.as_dict()) == plan
    old = {key: value for key, value in plan.as_dict().items() if key != "verdicts"}
    assert Plan.from_dict(old).verdicts == ()
    assert math.isclose(kept.merged or 0, 0.5)
