"""What is learned once the rounding of a unit is fixed: its integers stay, and everything is counted."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mrecg.config.schema import TrainerConfig
from mrecg.methods import MethodSettings
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.genie_m import GenieM
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.qdrop import QDrop
from mrecg.quant.modules import layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.group_state import state_of
from mrecg.reconstruct.held_out import Predictions
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]
QDROP = QDrop(lr_rounding=0.02, lr_scale=0.01, lr_bias=0.01, lr_weight_scale=0.01)
METHODS: list[LearnedRounding] = [
    replace(QDROP, learn_biases=True),
    replace(QDROP, learn_biases=True, learn_weight_scales=True),
    BrecqJoint(lr_rounding=0.02, lr_scale=0.01, learn_biases=True),
    GenieM(lr_rounding=0.02, lr_scale=0.01),
]
IDS = ["biases", "both", "brecq_joint", "genie_m"]


def run(network: QuantizedNetwork, images: Tensor, method: MethodSettings, steps: int = 8) -> Reconstruction:
    plan = plan_of(network)
    trainer = TrainerConfig(steps=steps, batch_size=4, log_every=1)
    return reconstruct(network, images, plan, Settings(method=method, trainer=trainer, eval_batch=8))


def first(network: QuantizedNetwork) -> dict[str, Tensor]:
    """State of the first unit: what comes after it has other inputs."""
    return {name: value.clone() for name, value in state_of(network.low[:1]).items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_it_is_what_a_second_run_with_fixed_integers_learns(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    settled, again = tiny_network(), tiny_network()
    run(settled, tiny_images, replace(method, settle_steps=1.0))
    run(again, tiny_images, method)
    rounded = first(again)
    run(again, tiny_images, replace(method, learn_rounding=False))
    assert equal(first(settled), first(again)) and not equal(first(again), rounded)
    integers = [name for name in rounded if name.endswith("integers")]
    assert integers and all(torch.equal(first(settled)[name], rounded[name]) for name in integers)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_without_rounding_every_integer_stays(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    before = [layer.integers.clone() for layer in layers_of(network.model)]
    scales = [layer.scale.clone() for layer in layers_of(network.model)]
    outcome = run(network, tiny_images, replace(method, learn_rounding=False))
    found = layers_of(network.model)
    assert all(torch.equal(layer.integers, integers) for layer, integers in zip(found, before, strict=True))
    moved = any(not torch.equal(layer.scale, scale) for layer, scale in zip(found, scales, strict=True))
    assert moved == method.learn_weight_scales
    assert all(layer.owns_bias for layer in found) or not method.learn_biases
    # Its loss is never regularised.
    assert all(point.rounding is None for group in outcome.groups for point in group.curve)


@pytest.mark.parametrize(("settle", "behind"), [(0.0, 0), (0.5, 4), (2.0, 16), (0.01, 1)])
def test_its_steps_continue_the_curve(
    settle: float, behind: int, tiny_network: Network, tiny_images: Tensor
) -> None:
    outcome = run(tiny_network(), tiny_images, replace(METHODS[0], settle_steps=settle, regulariser=1.0))
    for group in outcome.groups:
        assert group.steps == 8 + behind
        assert [point.step for point in group.curve] == list(range(8 + behind))
        assert all(point.rounding is None for point in group.curve[8:])
        assert all(point.rounding is not None for point in group.curve[2:8])


@pytest.mark.parametrize(
    ("rounded", "settled", "kept"),
    [(4.0, 3.0, "settled"), (4.0, 6.0, "rounded"), (7.0, 3.0, "settled"), (7.0, 6.0, "closed")],
)
def test_from_the_closed_form_held_out_images_decide_between_all_stages(
    rounded: float,
    settled: float,
    kept: str,
    tiny_network: Network,
    tiny_images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = replace(METHODS[1], start="closed_form", settle_steps=1.0)

    def kept_with(method: LearnedRounding, *stages: float) -> dict[str, Tensor]:
        calls: list[int] = []

        def said(self: Predictions, index: int, values: object) -> float:
            calls.append(index)
            # Before and after the closed form; with it, and after each stage.
            return (10.0, 5.0, 5.0, *stages)[calls.count(index) - 1]

        monkeypatch.setattr(Predictions, "difference_with", said)
        network = tiny_network()
        run(network, tiny_images, method)
        assert calls.count(0) == 3 + len(stages)
        return first(network)

    alone = replace(method, settle_steps=0.0)
    expected = {
        "settled": kept_with(method, 2.0, 1.0),
        "rounded": kept_with(alone, 4.0),
        "closed": kept_with(alone, 7.0),
    }
    found = kept_with(method, rounded, settled)
    assert [name for name, state in expected.items() if equal(state, found)] == [kept]


def test_it_takes_off_what_hardening_has_added(tiny_network: Network, tiny_images: Tensor) -> None:
    method = replace(METHODS[1], lr_rounding=1e-4)  # hardened while nearly everything is undecided
    rounded, settled = tiny_network(weight=2, activation=8), tiny_network(weight=2, activation=8)
    before = run(rounded, tiny_images, method, steps=60).units[1]
    after = run(settled, tiny_images, replace(method, settle_steps=1.0), steps=60).units[1]
    assert after.error < 0.95 * before.error
