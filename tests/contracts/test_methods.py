"""What every method must do; a new one is in here by its entry in METHODS."""

import math
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from mrecg.config.schema import CacheConfig, GranularityConfig, PlannerConfig, TrainerConfig
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.passes import LearnRounding, LearnScales, Pass
from mrecg.methods.registry import METHODS, passes_of
from mrecg.planner.plan import make_plan
from mrecg.quant.modules import activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings

Network = Callable[..., QuantizedNetwork]
every_method = pytest.mark.parametrize("name", METHODS)


def two_steps(network: QuantizedNetwork, images: Tensor, name: str, **options: Any) -> Reconstruction:
    return reconstruct(
        network,
        images,
        make_plan(
            [unit.facts for unit in network.units],
            network.policy.layers,
            granularity=GranularityConfig(name="fixed", groups=(("first", "second"),)),
            planner=PlannerConfig(),
            model="tiny",
        ),
        Settings(
            method=METHODS.get(name).settings(**options),
            trainer=TrainerConfig(steps=2, batch_size=4, log_every=1),
            cache=CacheConfig(),
            precision=32,
            seed=3,
            eval_batch=8,
        ),
    )


@every_method
def test_it_has_a_file_of_its_name_and_a_config_of_its_name(name: str) -> None:
    assert import_module(f"mrecg.methods.{name}").__doc__
    assert METHODS.get(name).settings().name == name


@every_method
@pytest.mark.parametrize(("depthwise", "usual"), [(True, 0.1), (False, 0.01)])
def test_its_passes_are_sound(name: str, depthwise: bool, usual: float) -> None:
    expected = 1.0 if name == "genie_m" else usual  # as its paper has it, for all networks
    passes = passes_of(METHODS.get(name).settings(), depthwise=depthwise)
    assert passes and all(isinstance(task, Pass) for task in passes)
    assert len({task.name for task in passes}) == len(passes)
    assert passes[-1].activations == "on"  # errors are those of the finished network
    for task in passes:
        assert 0 <= task.keep <= 1 and 0 < task.steps <= 10
        assert task.activations == "on" or (task.keep == 1 and task.scales is None)
        assert task.rounding is None or isinstance(task.rounding, LearnRounding)
        assert task.scales is None or isinstance(task.scales, LearnScales)
        if task.rounding is not None:
            assert task.rounding.regulariser == expected
    assert sum(task.rounding is not None for task in passes) == issubclass(
        METHODS.get(name).settings, LearnedRounding
    )


@every_method
def test_its_own_regulariser_counts(name: str) -> None:
    if issubclass(METHODS.get(name).settings, LearnedRounding):
        (task, *_) = passes_of(METHODS.get(name).settings(regulariser=0.7), depthwise=True)
        assert task.rounding is not None and task.rounding.regulariser == 0.7


@every_method
def test_it_hardens_every_weight_onto_its_grid(name: str, tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network()
    first = [layer.scale.clone() for layer in layers_of(network.model)]
    outcome = two_steps(network, tiny_images, name)
    assert all(math.isfinite(unit.error) and unit.error >= 0 for unit in outcome.units)
    assert all(math.isfinite(unit.loss) and unit.loss >= 0 for unit in outcome.units)
    for layer, scale in zip(layers_of(network.model), first, strict=True):
        level = layer.hard / layer.scale + layer.zero_point
        assert layer.soft is None and layer.quantized
        torch.testing.assert_close(level, level.round().clamp(0, 2**layer.bits - 1), atol=1e-4, rtol=0.0)
        assert torch.equal(layer.scale, scale) == (name != "genie_m")
        moved = (level - layer.zero_point - layer.reference / scale).abs()
        assert moved[(level > 0) & (level < layer.top)].max() < 1 + 1e-4  # a neighbour on the first grid
    for quantizer in activations_of(network.model):
        assert quantizer.mode == "on" and quantizer.drop is None and float(quantizer.scale) > 0
        assert not quantizer.scale.requires_grad
    points = [point for group in outcome.groups for point in group.curve]
    assert all(math.isfinite(point.total) for point in points)
    assert bool(points) == issubclass(METHODS.get(name).settings, LearnedRounding)


@every_method
def test_it_repeats_itself(name: str, tiny_network: Network, tiny_images: Tensor) -> None:
    states = []
    for _ in range(2):
        network = tiny_network()
        two_steps(network, tiny_images, name)
        states.append(network.state())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@every_method
def test_weights_alone_can_be_quantized(name: str, tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network(weight=2, activation=32)
    assert not activations_of(network.model)
    outcome = two_steps(network, tiny_images, name)
    assert all(math.isfinite(unit.error) and unit.error > 0 for unit in outcome.units)
    rounded = [group.steps > 0 for group in outcome.groups if group.task != "scales"]
    assert all(rounded) == issubclass(METHODS.get(name).settings, LearnedRounding)


@every_method
def test_its_options_combine(name: str, tiny_network: Network, tiny_images: Tensor) -> None:
    known = {field.name for field in fields(METHODS.get(name).settings)}
    options = {
        "loss": "fisher_diag",
        "beta_decay": "cosine",
        "lr_decay": "cosine",
        "learn_zero_points": True,
        "keep_probability": 0.25,
    }
    network = tiny_network(
        boundary=None, input=8, stem_output=8, symmetric_weights=True, per_tensor_weights=True
    )
    chosen = {key: value for key, value in options.items() if key in known}
    outcome = two_steps(network, tiny_images, name, **chosen)
    assert all(math.isfinite(unit.error) and unit.error > 0 for unit in outcome.units)
    for quantizer in activations_of(network.model):
        assert (
            float(quantizer.zero_point) in range(quantizer.top + 1) and not quantizer.zero_point.requires_grad
        )
    again = network.model(tiny_images)
    assert torch.equal(again, torch.nn.Sequential(*network.low)(tiny_images)) and again.isfinite().all()
