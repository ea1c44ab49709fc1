"""Units solved in closed form: what is kept, what it is worth, and that nothing else moves."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.schema import GranularityConfig, PlannerConfig, TrainerConfig
from mrecg.methods.closed_form import ClosedForm
from mrecg.methods.hyperparameters import MethodSettings
from mrecg.methods.passes import Solve
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.planner.plan import make_plan
from mrecg.quant.input_moments import Moments
from mrecg.quant.modules import QuantizedLayer, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import closed_form
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.group_state import GroupRecord, state_of
from mrecg.reconstruct.held_out import Predictions, output_difference
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.testing import network as net

METHOD = ClosedForm(images=12, held_out=4)
TASK = Solve(images=12, held_out=4, sweeps=4, compensation=0.5)


class Kept:
    """Records of groups, by their place."""

    every_steps = 0

    def __init__(self, records: list[GroupRecord] | None = None) -> None:
        self.records, self.known, self.place = [], records or [], -1

    def announce(self, task, members, steps):
        self.place += 1

    def recall(self):
        return self.known[self.place] if self.place < len(self.known) else None

    def keep(self, record):
        self.records.append(record)

    def recall_partial(self, name):
        return None


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every correction count as an improvement."""
    numbers = iter(range(1000, 0, -1))
    monkeypatch.setattr(Predictions, "difference_with", lambda *args: float(next(numbers)))


def solved(
    network: QuantizedNetwork,
    method: MethodSettings = METHOD,
    *,
    merged: bool = False,
    finished: Kept | None = None,
) -> Reconstruction:
    groups = (("first", "second"),) if merged else ()
    plan = make_plan(
        [unit.facts for unit in network.units],
        network.policy.layers,
        granularity=GranularityConfig(name="fixed" if merged else "block", groups=groups),
        planner=PlannerConfig(),
        model="check",
    )
    settings = Settings(method=method, trainer=TrainerConfig(steps=2), eval_batch=8)
    return reconstruct(network, net.images(), plan, settings, finished=finished)


def states(network: QuantizedNetwork) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state_of(network.low).items()}


@torch.no_grad()
def difference(network: QuantizedNetwork, images: Tensor) -> float:
    return output_difference(network.model(images), nn.Sequential(*network.full)(images))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_prediction_is_nearer_than_with_nearest_rounding(bits: int) -> None:
    nearest, better = (net.network(weight=bits, activation=bits) for _ in range(2))
    solved(nearest, Rtn())
    solved(better)
    held_out = net.images()[-4:]
    assert difference(better, held_out) < 0.8 * difference(nearest, held_out)


LEARNED = QDrop(start="closed_form", learn_biases=True, learn_weight_scales=True, lr_rounding=0.5)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("after", [4.0, 9.0])
def test_what_is_learned_then_is_kept_where_the_prediction_gets_nearer(
    monkeypatch: pytest.MonkeyPatch, merged: bool, after: float
) -> None:
    calls: list[int] = []

    def said(self: Predictions, index: int, values: object) -> float:
        calls.append(index)
        return (10.0, 5.0, 5.0, after)[calls.count(index) - 1]

    monkeypatch.setattr(Predictions, "difference_with", said)
    network, alone = net.network(), net.network()
    solved(network, LEARNED, merged=merged)
    calls.clear()
    solved(alone, merged=merged)
    found, expected = states(network), states(alone)
    assert found.keys() == expected.keys() and any("bias" in name for name in found)
    same = [torch.equal(value, expected[name]) for name, value in found.items() if "layer" in name]
    assert all(same) == (after > 5) and not (after < 5 and all(same))
    for layer in layers_of(network.model):
        assert layer.target is None and layer.soft is None and layer.integers.max() <= layer.top


def test_full_precision_and_activations_do_not_move(accepted: None) -> None:
    network = net.network()
    images = net.images()
    before = nn.Sequential(*network.full)(images)
    scales = {name: value for name, value in states(network).items() if "activation" in name}
    outcome = solved(network)
    assert all(layer.owns_bias for layer in layers_of(network.model))
    assert torch.equal(nn.Sequential(*network.full)(images), before)
    after = states(network)
    assert scales and all(torch.equal(after[name], value) for name, value in scales.items())
    assert all(group.steps == 0 and not group.curve for group in outcome.groups)


def test_what_makes_the_prediction_worse_leaves_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = net.network()
    before = states(network)
    calls = []

    def after(self: Predictions, index: int, quantized: object) -> float:
        calls.append(index)
        return 1.0 + len(calls)  # each time worse than before

    monkeypatch.setattr(Predictions, "difference_with", after)
    solved(network)
    assert calls
    now = states(network)
    assert now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in now)
    assert not any(layer.owns_bias for layer in layers_of(network.model))


def test_a_prediction_that_is_no_number_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    network = net.network()
    before, numbers = states(network), iter([1.0, *[float("nan")] * 100])
    monkeypatch.setattr(Predictions, "difference_with", lambda *args: next(numbers))
    solved(network)
    assert states(network).keys() == before.keys()


def test_no_unit_ends_worse_on_the_held_out_images(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = net.network(weight=2), []
    measured, settle = Predictions.difference_with, closed_form.Solver.solve

    def solve(self, index, quantized, full):
        before = measured(self._predictions, index, quantized)
        settle(self, index, quantized, full)
        seen.append((before, measured(self._predictions, index, quantized)))

    monkeypatch.setattr(closed_form.Solver, "solve", solve)
    solved(network)
    assert len(seen) == len(net.UNITS)
    assert all(after <= before for before, after in seen) and any(after < before for before, after in seen)


def test_groups_make_no_difference() -> None:
    alone, merged = net.network(), net.network()
    solved(alone)
    solved(merged, merged=True)
    one, other = states(alone), states(merged)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_records_bring_everything_back_with_the_biases(accepted: None) -> None:
    first, again = net.network(), net.network()
    kept = Kept()
    outcome = solved(first, finished=kept)
    calls = Kept(kept.records)
    repeated = solved(again, finished=calls)
    one, other = states(first), states(again)
    assert any(name.endswith("bias") for name in one)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert [unit.error for unit in repeated.units] == [unit.error for unit in outcome.units]
    assert torch.equal(first.model(net.images()), again.model(net.images()))


def test_an_interrupted_walk_continues_from_its_records() -> None:
    whole, rest = net.network(), net.network()
    kept = Kept()
    solved(whole, finished=kept)
    solved(rest, finished=Kept(kept.records[:2]))
    one, other = states(whole), states(rest)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_saved_network_is_the_same_network(accepted: None) -> None:
    network, loaded = net.network(), net.network()
    solved(network)
    loaded.load_state(network.state())
    assert torch.equal(network.model(net.images()), loaded.model(net.images()))


LAYERS = (nn.Linear(6, 5), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1))
GRIDS = (
    {"symmetric_weights": True},
    {"per_tensor_weights": True},
    {"activation": 32},
    {"weight": 32, "boundary": None},
)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_weights_gain_and_bias_make_up_for_quantized_inputs(layer: nn.Module) -> None:
    torch.manual_seed(0)
    layer.reset_parameters()
    layer.requires_grad_(requires_grad=False)
    x = torch.randn(64, 6) if isinstance(layer, nn.Linear) else torch.randn(64, 6, 5, 5)
    coarse = (x * 0.7).round() + 0.2
    errors = {}
    for share, corrected in ((0.0, False), (1.0, False), (0.0, True), (0.5, True)):
        quantized = QuantizedLayer(layer, bits=4)
        moments = Moments(quantized)
        moments.add(coarse, moments.arrangement.positions(layer(x).detach()))
        closed_form._settle(moments, replace(TASK, compensation=share), corrected=corrected)
        errors[share, corrected] = float((quantized(coarse) - layer(x)).square().mean())
    assert errors[1.0, False] < errors[0.0, False]
    assert errors[0.5, True] <= 1.001 * errors[0.0, True] < 0.9 * errors[0.0, False]


def test_a_corrected_output_has_gain_one_and_the_right_mean() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 4, 3, groups=4), torch.randn(32, 4, 6, 6)
    quantized = QuantizedLayer(layer, bits=2)
    moments = Moments(quantized)
    moments.add(x, moments.arrangement.positions(layer(x).detach()))
    closed_form._settle(moments, TASK, corrected=True)
    got, wanted = (out.transpose(0, 1).flatten(1) for out in (quantized(x), layer(x)))
    torch.testing.assert_close(got.mean(1), wanted.mean(1), atol=1e-5, rtol=1e-4)
    got, wanted = got - got.mean(1, keepdim=True), wanted - wanted.mean(1, keepdim=True)
    shared, own, other = (got * wanted).mean(1), got.square().mean(1), wanted.square().mean(1)
    sure = shared / (own * other).sqrt() >= closed_form.SURE
    assert sure.any()
    torch.testing.assert_close((shared / own)[sure], torch.ones(int(sure.sum())), atol=1e-4, rtol=0)
    torch.testing.assert_close(own[~sure], other[~sure], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_every_kind_of_grid_is_solved(options: dict[str, object]) -> None:
    network = net.network(**options)
    outcome = solved(network)
    assert len(outcome.units) == len(net.UNITS)
    for layer in layers_of(network.model):
        if options.get("symmetric_weights"):
            assert (layer.zero_point == (layer.top + 1) // 2).all()
        assert layer.scale.isfinite().all() and (layer.scale > 0).all()


def test_a_single_image_serves_for_all() -> None:
    network = net.network()
    plan = make_plan(
        [unit.facts for unit in network.units], network.policy.layers,
        granularity=GranularityConfig(name="block"), planner=PlannerConfig(), model="check",
    )  # fmt: skip
    reconstruct(network, net.images()[:1], plan, Settings(method=METHOD))
    assert network.model(net.images()).isfinite().all()
