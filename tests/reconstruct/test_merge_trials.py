"""Trials of merges during a block-wise run: what they measure, and that they leave no trace."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import CacheConfig, GranularityConfig, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.methods import MethodSettings
from mrecg.methods.brecq import Brecq
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.pd_quant import PdQuant
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.planner.plan import make_plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import CurvePoint, Silent
from mrecg.reconstruct.held_out import divided, output_difference
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.merge_trials import PairTrials
from mrecg.reconstruct.settings import Settings

Network = Callable[..., QuantizedNetwork]
UNITS = 5


class Counter(Silent):
    """Adds up the steps that are announced and those that are reported."""

    def __init__(self) -> None:
        self.announced = self.done = 0

    def begin(self, groups: Sequence[str], steps: int) -> None:
        self.announced += steps

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        self.done += steps


def run(
    network: QuantizedNetwork,
    images: Tensor,
    method: MethodSettings,
    *,
    merged: Sequence[str] = (),
    trials: PairTrials | None = None,
    listener: Silent | None = None,
) -> Reconstruction:
    kind = (
        GranularityConfig(name="fixed", groups=(tuple(merged),))
        if merged
        else GranularityConfig(name="block")
    )
    facts = [unit.facts for unit in network.units]
    plan = make_plan(facts, network.policy.layers, granularity=kind, planner=PlannerConfig(), model="tiny")
    return reconstruct(
        network,
        images,
        plan,
        Settings(
            method=method,
            trainer=TrainerConfig(steps=6, batch_size=4, log_every=1, lr_factor=10),
            cache=CacheConfig(),
            precision=32,
            seed=3,
            eval_batch=8,
        ),
        trials=trials,
        listener=listener,
    )


def output_error(network: QuantizedNetwork, images: Tensor, quantized: int) -> float:
    """How much information about the class is lost: first units quantized, the rest in full precision."""
    with torch.no_grad():
        full = nn.Sequential(*network.full)(images).double().softmax(1)
        low = nn.Sequential(*network.low[:quantized], *network.full[quantized:])(images).double().softmax(1)
    return float((full * (full / low).log()).sum(1).mean())


class AllImages(PairTrials):
    """Holds nothing out, so that the walk is that of an ordinary run."""

    def held_out(self, images: int) -> int:
        return 0


SOLVED = QDrop(start="closed_form", learn_biases=True)


@pytest.mark.parametrize(
    "method", [QDrop(learn_zero_points=True), Brecq(), SOLVED], ids=["qdrop", "brecq", "closed form as start"]
)
def test_trials_leave_no_trace(method: LearnedRounding, tiny_network: Network, tiny_images: Tensor) -> None:
    plain, tried = tiny_network(), tiny_network()
    trials, counter = AllImages(range(UNITS - 1)), Counter()
    expected = run(plain, tiny_images, method)
    found = run(tried, tiny_images, method, trials=trials, listener=counter)
    assert found.units == expected.units
    state = tried.state()
    assert all(torch.equal(value, state[key]) for key, value in plain.state().items())
    assert len(trials.reach) == UNITS and len(trials.pairs) == UNITS - 1
    assert counter.announced == counter.done > sum(group.steps for group in found.groups)


def test_a_trial_is_the_merge_that_a_run_would_make(tiny_network: Network, tiny_images: Tensor) -> None:
    network, trials = tiny_network(), AllImages([1])
    run(network, tiny_images, QDrop(), trials=trials)
    assert math.isnan(trials.pairs[0]) and math.isnan(trials.pairs[2]) and math.isnan(trials.pairs[3])
    merged = tiny_network()
    run(merged, tiny_images, QDrop(), merged=("first", "second"))
    assert trials.pairs[1] == pytest.approx(output_error(merged, tiny_images, 3), rel=1e-5)
    for i, reach in enumerate(trials.reach):
        assert reach == pytest.approx(output_error(network, tiny_images, i + 1), rel=1e-5)
    assert trials.pairs[1] != trials.reach[2]


def test_a_trial_begins_at_the_closed_form_where_a_run_would(
    tiny_network: Network, tiny_images: Tensor
) -> None:
    network, merged, trials = tiny_network(), tiny_network(), PairTrials([1])
    run(network, tiny_images, SOLVED, trials=trials)
    run(merged, tiny_images, SOLVED, merged=("first", "second"))
    held_out = tiny_images[divided(16, 0.25, 3)[1]]
    assert trials.pairs[1] == pytest.approx(output_error(merged, held_out, 3), rel=1e-5)
    assert trials.pairs[1] != trials.reach[2]


def test_a_trial_learns_from_other_images_than_it_is_measured_on(
    tiny_network: Network, tiny_images: Tensor
) -> None:
    assert [PairTrials([]).held_out(n) for n in (1, 2, 16, 512, 4096)] == [0, 1, 4, 128, 256]
    network, trials = tiny_network(), PairTrials([1])
    run(network, tiny_images, QDrop(), trials=trials)
    for i, reach in enumerate(trials.reach):
        assert reach == pytest.approx(output_error(network, tiny_images[-4:], i + 1), rel=1e-5)
    # What is held out does not show in what was learned.
    other, changed = tiny_network(), tiny_images.clone()
    changed[-4:] = changed[-4:].flip(0) * 2
    again = PairTrials([1])
    run(other, changed, QDrop(), trials=again)
    state = other.state()
    assert all(torch.equal(value, state[key]) for key, value in network.state().items())
    assert again.pairs[1] != trials.pairs[1]


def test_where_nothing_is_learned_nothing_is_tried(tiny_network: Network, tiny_images: Tensor) -> None:
    trials = PairTrials(range(UNITS - 1))
    run(tiny_network(), tiny_images, Rtn(), trials=trials)
    assert all(math.isnan(value) for value in trials.pairs) and all(value > 0 for value in trials.reach)


@pytest.mark.parametrize(
    ("method", "what"),
    [(PdQuant(), "method=pd_quant"), (QDrop(loss="fisher_diag"), "method.loss=fisher_diag")],
)
def test_predictions_have_to_be_class_probabilities(
    method: LearnedRounding, what: str, tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    network.full[-1] = nn.Sequential(network.full[-1], nn.Unflatten(1, (1, -1)))
    with pytest.raises(ConfigError, match=rf"^{what} compares class probabilities; .* shape \(1, 1, \d+\)$"):
        run(network, tiny_images, method)


def test_an_output_that_is_no_logits_is_compared_by_its_relative_error() -> None:
    full = torch.tensor([[[3.0, 4.0]], [[0.0, 5.0]]])
    assert output_difference(full + torch.tensor([1.0, 0.0]), full) == pytest.approx(2 / 50)
    assert output_difference(full, torch.zeros_like(full)) > 1e9
    logits = torch.randn(4, 7)
    assert output_difference(logits + 3, logits) == pytest.approx(0, abs=1e-6)  # the same predictions
