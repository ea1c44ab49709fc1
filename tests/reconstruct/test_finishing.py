"""Finishing: integers stay, held-out images choose, and gradients are those of plain torch in float64."""

import math
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import (
    BitsConfig,
    CalibrationConfig,
    GranularityConfig,
    Precision,
    RunConfig,
    TrainerConfig,
)
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.methods.rtn import Rtn
from mrecg.quant.modules import activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.calibrate import calibrate
from mrecg.reconstruct.events import FinishPoint, Listener, Silent, UnitResult
from mrecg.reconstruct.finishing import Finishing, finish, measure_units
from mrecg.reconstruct.finishing_module import NetworkFinishing
from mrecg.reconstruct.finishing_task import VIEWS, FinishTask
from mrecg.reconstruct.free_parameters import FreeParameters
from mrecg.reconstruct.group_state import Finished, GroupRecord, Partial
from mrecg.reconstruct.held_out import divided
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.spread import spreads
from mrecg.testing.network import images, network

ALL = FinishConfig(name="network")


def finished(
    net: QuantizedNetwork,
    x: Tensor | None = None,
    *,
    chunk: int = 50,
    log_every: int = 10,
    precision: Precision = 32,
    listener: Listener | None = None,
    records: Finished | None = None,
    **values: Any,
) -> Finishing:
    config = FinishConfig(**{"name": "network", "steps": 20, "lr": 1e-2, "held_out": 0.25, **values})
    trainer = TrainerConfig(chunk=chunk, log_every=log_every)
    settings = Settings(method=Rtn(), trainer=trainer, precision=precision, eval_batch=5)
    return finish(net, images() if x is None else x, config, settings, listener=listener, finished=records)


def free_of(model: nn.Module, x: Tensor) -> FreeParameters:
    return FreeParameters(model, ALL, spreads(model, layers_of(model), x))


def copied(net: QuantizedNetwork) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if torch.equal(one[name], other[name])}


def divergence(net: QuantizedNetwork, x: Tensor) -> float:
    """KL divergence in float64, written out."""
    full, low = nn.Sequential(*net.full)(x).double().softmax(1), net.model(x).double().softmax(1)
    return float((full * (full / low).log()).sum(1).mean())


@torch.no_grad()
def test_integers_and_zero_points_stay_and_held_out_images_gain() -> None:
    net, x = network(), images()
    before, full = copied(net), nn.Sequential(*net.full)(x)
    found = finished(net)
    same = equal(before, net.state())
    assert same == {name for name in before if name.endswith(("integers", "zero_point"))}
    assert torch.equal(nn.Sequential(*net.full)(x), full), "the full-precision network has changed"
    held_out = x[divided(16, 0.25, 0)[1]]
    assert found.measure == "kl" and (found.images, found.held_out_images) == (12, 4)
    assert found.chosen.held_out < found.checks[0].held_out
    assert found.chosen.held_out == min(check.held_out for check in found.checks)
    assert found.chosen.held_out == pytest.approx(divergence(net, held_out), rel=0.02)
    assert [check.step for check in found.checks] == list(range(0, 21, 2))
    for quantizer in activations_of(net.model):
        assert (
            float(quantizer.scale) > 0 and not quantizer.scale.requires_grad and quantizer.scale.grad is None
        )


def test_what_does_not_help_leaves_every_bit() -> None:
    net = network()
    before = copied(net)
    found = finished(net, lr=1.0)
    assert all(check.held_out > found.checks[0].held_out for check in found.checks[1:])
    assert found.chosen == found.checks[0]
    assert equal(before, net.state()) == set(before)
    other = network()
    assert torch.equal(net.model(images()), other.model(images()))


def test_steps_in_bfloat16_are_measured_in_float32() -> None:
    exact, coarse = finished(network()), finished(network(), precision="bf16")
    assert coarse.checks[0] == exact.checks[0] and coarse.checks[1] != exact.checks[1]
    assert coarse.chosen.held_out < coarse.checks[0].held_out


def test_nothing_to_learn_is_no_fault() -> None:
    net = network(weight=32, activation=32, boundary=None)
    found = finished(net)
    assert [check.step for check in found.checks] == [0] and found.chosen.held_out == 0


@pytest.mark.parametrize("values", [{}, {"boundary": 0.5}, {"augment": "crops_and_flips", "crop": 0.7}])
def test_the_same_bits_come_out_twice_and_in_chunks_of_any_length(values: dict[str, Any]) -> None:
    first, second = network(), network()
    one, two = finished(first, **values), finished(second, chunk=3, **values)
    assert one == two and one.chosen.step > 0
    assert equal(first.state(), second.state()) == set(first.state())
    other = network()
    assert finished(other, boundary=0.25) != one


class Heard(Silent):
    """Keeps what is reported; may stop after some reports."""

    def __init__(self, stop: int | None = None) -> None:
        self.points: list[FinishPoint] = []
        self.steps: list[int] = []
        self.stop = stop

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        self.points += points
        self.steps.append(steps)
        if len(self.steps) == self.stop:
            raise StopError


class StopError(Exception):
    pass


class Kept:
    """Keeps the state in the middle of the steps, as bytes would: nothing that is changed later."""

    every_steps = 1

    def __init__(self) -> None:
        self.partial: Partial | None = None

    def announce(self, task: object, members: Sequence[str], steps: int) -> None:
        pass

    def recall(self) -> GroupRecord | None:
        return None

    def keep(self, record: GroupRecord) -> None:
        pass

    def recall_partial(self, name: str) -> Partial | None:
        return self.partial

    def keep_partial(self, name: str, partial: Partial) -> None:
        state = {name: value.clone() for name, value in partial.state.items()}
        self.partial = Partial(steps=partial.steps, state=state)


def test_points_are_means_of_the_steps_between_them() -> None:
    each, heard = Heard(), Heard()
    single = finished(network(), log_every=1, listener=each)
    found = finished(network(), log_every=3, listener=heard)
    assert tuple(heard.points) == found.points and sum(heard.steps) == 20
    assert [point.step for point in each.points] == list(range(21))
    losses = [point.loss for point in each.points]
    steps = [0, 2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 18, 20]
    assert [point.step for point in heard.points] == steps
    for begin, point in zip(steps, heard.points[1:], strict=False):
        part = [loss for loss in losses[begin + 1 : point.step + 1] if loss is not None]
        assert point.loss == pytest.approx(sum(part) / len(part), rel=1e-5)
        assert (point.held_out is None) == bool(point.step % 2)
    assert [check.held_out for check in single.checks] == [check.held_out for check in found.checks]
    assert heard.points[0].loss is None


@pytest.mark.parametrize("lr", [1e-2, 0.3])
def test_one_that_was_interrupted_comes_to_the_same_bits(lr: float) -> None:
    values = {"augment": "crops", "log_every": 3, "chunk": 1, "lr": lr}
    whole, net = network(), network()
    expected, heard = Heard(), Heard()
    outcome = finished(whole, listener=expected, **values)
    kept, taken = Kept(), list[int]()
    for stop in (5, 9, 3):  # the first report is that of the start
        broken = Heard(stop)
        with pytest.raises(StopError):
            finished(network(), listener=broken, records=kept, **values)
        taken.append(sum(broken.steps))
    assert taken == [4, 12, 14], "steps were taken again"
    assert finished(net, listener=heard, records=kept, **values) == outcome
    assert equal(whole.state(), net.state()) == set(whole.state())
    assert heard.points == expected.points and sum(heard.steps) == 20


def test_what_another_network_has_left_is_not_taken() -> None:
    kept, heard = Kept(), Heard()
    kept.partial = Partial(steps=4, state={"learned.0": torch.zeros(3), "points": torch.zeros(1, 3)})
    assert finished(network(), records=kept, listener=heard) == finished(network())
    assert heard.steps[0] == 0


@pytest.mark.parametrize(
    ("off", "stays"),
    [("weight_scales", "weight"), ("biases", "bias"), ("activation_scales", "activation")],
)
def test_what_is_not_to_be_learned_stays(off: str, stays: str) -> None:
    net = network()
    before, layers = copied(net), {name.rpartition(".")[0] for name in net.state() if "integers" in name}
    finished(net, **{off: False})
    changed = set(before) - equal(before, net.state())
    kinds = {
        "weight": {f"{layer}.scale" for layer in layers},
        "bias": {name for name in before if name.endswith(".bias")},
        "activation": {
            name for name in before if name.endswith("scale") and name.rpartition(".")[0] not in layers
        },
    }
    assert all(kinds.values())
    for kind, names in kinds.items():
        assert bool(changed & names) is (kind != stays), kind


def test_something_is_to_be_learned() -> None:
    with pytest.raises(ValidationError, match=r"nothing to learn without finish\.weight_scales"):
        FinishConfig(name="network", weight_scales=False, biases=False, activation_scales=False)
    FinishConfig(weight_scales=False, biases=False, activation_scales=False)


def test_learning_ends_where_a_loss_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    real, steps = NetworkFinishing.loss, list[int]()

    def loss(module: NetworkFinishing, index: Tensor, step: int) -> Tensor:
        steps.append(step)
        found = real(module, index, step)
        return found * (math.nan if step == 12 else 1.0)

    expected, net, other = finished(network()), network(), network()
    monkeypatch.setattr(NetworkFinishing, "loss", loss)
    found = finished(net)
    assert found.diverged == 14 and steps == list(range(14))
    assert found.checks == expected.checks[:7] and found.chosen.held_out < found.checks[0].held_out
    assert all(bool(value.isfinite().all()) for value in net.state().values())
    assert float((net.model(images()) - other.model(images())).abs().max()) > 0


def test_held_out_images_are_not_learned_from() -> None:
    first, second, x = network(), network(), images()
    changed = x.clone()
    changed[divided(16, 0.25, 0)[1]] = torch.randn(4, 3, 8, 8)
    one, two = finished(first), finished(second, changed)
    assert [check.loss for check in one.checks] == [check.loss for check in two.checks]
    assert all(a.held_out != b.held_out for a, b in zip(one.checks, two.checks, strict=True))


@pytest.mark.parametrize(
    ("count", "fraction", "held"), [(2, 0.1, 1), (2, 0.5, 1), (16, 0.25, 4), (100, 0.1, 10)]
)
def test_images_are_divided(count: int, fraction: float, held: int) -> None:
    learned, held_out = divided(count, fraction, 3)
    assert len(held_out) == held
    assert sorted([*learned.tolist(), *held_out.tolist()]) == list(range(count))
    assert torch.equal(held_out, divided(count, fraction, 3)[1])


def straight() -> tuple[nn.Sequential, QuantizedNetwork, Tensor]:
    """A network that is easily written again: three convolutions, the second depthwise; a linear layer."""
    torch.manual_seed(4)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    ).eval()
    with torch.no_grad():
        model[8].weight.mul_(20)  # predictions that differ by more than float32's last bits
    x = torch.randn(12, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    traced = trace(model).graph
    net = QuantizedNetwork(traced, partition(traced), BitsConfig(weight=3, activation=4))
    net = net.to(torch.device("cpu"))
    for _ in calibrate(net, x, CalibrationConfig(bins=128, candidates=8), batch=12):
        pass
    return model, net, x


class _Round(torch.autograd.Function):
    """Rounding whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def test_gradients_are_those_of_plain_torch_in_float64() -> None:
    model, net, x = straight()
    state, layers = net.state(), ("0", "2", "4", "8")
    reached = net.model
    free = free_of(reached, x)
    generator = torch.Generator().manual_seed(1)
    draws = [torch.randn(factor.shape, generator=generator) * 0.1 for factor in free.factors]
    names = [name.removesuffix(".integers") for name in state if name.endswith(".integers")]
    assert sorted(names) == sorted(layers) and len(free.biases) == 4

    factors = {name: draw.double().requires_grad_() for name, draw in zip(names, draws, strict=True)}
    biases = {name: state[f"{name}.bias"].double().requires_grad_() for name in layers}
    scales = [quantizer.scale.detach().double().requires_grad_() for quantizer in activations_of(reached)]
    tops = [quantizer.top for quantizer in activations_of(reached)]
    assert len(scales) == 3 and all(float(q.zero_point) == 0 for q in activations_of(reached))
    sizes = []

    def weight(name: str) -> Tensor:
        scale = state[f"{name}.scale"].double() * factors[name].exp()
        return (state[f"{name}.integers"].double() - state[f"{name}.zero_point"].double()) * scale

    h = x.double()
    for place, name in enumerate(layers[:3]):
        h = F.conv2d(h, weight(name), biases[name], padding=int(place < 2), groups=6 if place == 1 else 1)
        level = _Round.apply(h.relu() / scales[place])
        level = torch.where(level > tops[place], tops[place], level)  # torch's clamp stops at the end itself
        h, _ = level * scales[place], sizes.append(h.numel())
    low = F.linear(h.mean((2, 3)), weight("8"), biases["8"]).log_softmax(1)
    full = model.double()(x.double()).log_softmax(1).detach()
    expected = (full.exp() * (full - low)).sum(1).mean()
    expected.backward()
    model.float()

    with torch.no_grad():
        for factor, draw in zip(free.factors, draws, strict=True):
            factor.copy_(draw)
    with free.learning():
        free.lend()
        loss = module(net, x, free).loss(torch.arange(12), 0)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
        close = {"rtol": 2e-3, "atol": 1e-5}
        for name, factor, bias in zip(names, free.factors, free.biases, strict=True):
            torch.testing.assert_close(factor.grad, factors[name].grad.float(), **close)
            torch.testing.assert_close(bias.grad, biases[name].grad.float(), **close)
        for quantizer, scale, top, size in zip(activations_of(reached), scales, tops, sizes, strict=True):
            lsq = scale.grad.float() * (size * top) ** -0.5
            torch.testing.assert_close(quantizer.scale.grad, lsq, rtol=2e-3, atol=1e-8)


def module(net: QuantizedNetwork, x: Tensor, free: FreeParameters, **values: Any) -> NetworkFinishing:
    task = FinishTask(
        network=net,
        images=Store.of(x),
        outputs=nn.Sequential(*net.full)(x).detach(),
        shard=Shard(len(x)),
        learned=torch.arange(8),
        held_out=torch.arange(8, len(x)),
        config=FinishConfig(name="network", **values),
        seed=0,
        eval_batch=4,
    )
    return NetworkFinishing(task, free, lambda points, done: None)


@torch.no_grad()
def test_errors_after_units_are_added_by_their_weight() -> None:
    net, x = network(), images()
    free = free_of(net.model, x)
    index = torch.arange(16)
    low, full, errors = x, x, list[float]()
    for one, other in zip(net.low[:-1], net.full[:-1], strict=True):
        low, full = one(low), other(full)
        errors.append(float((low - full).square().sum() / full.square().sum()))
    assert len(errors) == 4
    plain, added = (float(module(net, x, free, boundary=weight).loss(index, 0)) for weight in (0.0, 0.5))
    assert added - plain == pytest.approx(0.5 * sum(errors) / len(errors), rel=1e-4)


@torch.no_grad()
def test_targets_are_those_of_the_augmented_images() -> None:
    exact, x = network(weight=32, activation=32, boundary=None), images()
    learning = module(exact, x, free_of(exact.model, x), augment="crops", boundary=1.0)
    index = torch.arange(len(x))[:8]
    seen = learning.augmentation.apply(x[index], 5, index)
    full = nn.Sequential(*exact.full)
    assert float((full(seen) - full(x[index])).abs().max()) > 1e-2, "they are those of the images themselves"
    assert float(learning.loss(index, 5)) < 1e-6

    low = network()
    learning = module(low, x, free_of(low.model, x), augment="crops")
    seen = learning.augmentation.apply(x[index], 5, index)
    assert float(learning.loss(index, 5)) == pytest.approx(divergence(low, seen), rel=1e-3)


def test_images_that_choose_are_seen_in_several_views() -> None:
    net, x = network(), images()
    task = module(net, x, free_of(net.model, x), augment="crops_and_flips")._task
    held_out = x[task.held_out]
    views = torch.cat(list(task._views())).split(len(held_out))
    changes = [float((view - held_out).abs().mean()) for view in views]
    assert min(changes) > 1e-2 and len(set(changes)) == len(views) == VIEWS
    expected = sum(divergence(net, view) for view in views) / VIEWS
    assert task.measured() == task.measured() == pytest.approx(expected, rel=1e-2)

    plain = module(net, x, free_of(net.model, x))._task
    with patch.object(nn.Sequential, "forward", side_effect=AssertionError("it is known already")):
        targets = plain._targets
    assert torch.equal(torch.cat(targets), plain.outputs[plain.held_out])
    assert [len(target) for target in targets] == [len(view) for view in plain._views()]
    assert torch.equal(torch.cat(list(plain._views())), held_out)
    assert plain.measured() == pytest.approx(divergence(net, held_out), rel=1e-2)
    augmented = finished(network(), augment="crops_and_flips")
    assert augmented.chosen.held_out < augmented.checks[0].held_out


def test_an_output_of_no_scores_is_compared_by_its_squared_error() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)).eval()
    x = torch.randn(12, 3, 6, 6)
    traced = trace(model).graph
    net = QuantizedNetwork(traced, partition(traced), BitsConfig(weight=2, activation=3, boundary=None))
    net = net.to(torch.device("cpu"))
    for _ in calibrate(net, x, CalibrationConfig(bins=128, candidates=8), batch=12):
        pass
    found = finished(net, x)
    held_out = x[divided(12, 0.25, 0)[1]]
    with torch.no_grad():
        low, full = net.model(held_out), model(held_out)
    assert found.measure == "relative_error" and 0 < found.chosen.held_out < found.checks[0].held_out
    assert found.chosen.held_out == pytest.approx(float((low - full).square().sum() / full.square().sum()))


@torch.no_grad()
def test_units_are_measured_in_the_network_as_it_is() -> None:
    net, x = network(), images()
    units = tuple(UnitResult(name=unit.name, group=3, error=-1, loss=-1) for unit in net.units)
    finished(net)
    again = measure_units(net, x, units, Settings(method=Rtn(), eval_batch=5))
    low, full = x, x
    assert len(again) == len(net.units)
    for unit, one, other, found in zip(net.units, net.low, net.full, again, strict=True):
        low, full = one(low), other(full)
        squared = float((low - full).square().sum())
        assert (found.name, found.group) == (unit.name, 3)
        assert found.error == pytest.approx(squared / float(full.square().sum()), rel=1e-4)
        assert found.loss == pytest.approx(squared * full.shape[1] / full.numel(), rel=1e-4)


def test_what_chooses_was_not_learned_from_before_either() -> None:
    block = GranularityConfig(name="block")
    finish = FinishConfig(name="network", held_out=0.25)
    assert Settings.of(RunConfig(granularity=block)).held_out == 0
    found = Settings.of(RunConfig(granularity=block, finish=finish))
    assert (found.held_out, found.judged) == (0.25, False)
    both = Settings.of(RunConfig(finish=finish, planner=PlannerConfig(name="safe", held_out=0.1)))
    assert (both.held_out, both.judged) == (0.25, True)
    small, large = divided(40, 0.1, 3)[1].tolist(), divided(40, 0.25, 3)[1].tolist()
    assert len(small) == 4 and len(large) == 10 and set(small) < set(large)
