"""What every method must do."""

import math
import sys
from dataclasses import fields
from typing import Any

import torch

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import GranularityConfig, TrainerConfig
from mrecg.methods import METHODS, LearnedRounding, LearnRounding, LearnScales, Pass, passes_of
from mrecg.planner.plan import make_plan
from mrecg.quant.modules import activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.testing import network as net


def has_a_name_and_words(name: str) -> None:
    """Its hyper-parameters have its name and defaults, and it says what it does and where it is from."""
    settings = METHODS.get(name).settings
    assert settings().name == name
    assert settings.__doc__, f"{settings.__name__}: has no docstring; the first line is shown in tables"
    assert sys.modules[METHODS.get(name).passes.__module__].__doc__, "its module has no docstring"


def has_sound_passes(name: str) -> None:
    """Its passes are in range, have names of their own, and the last one quantizes activations."""
    settings = METHODS.get(name).settings
    for depthwise in (False, True):
        passes = passes_of(settings(), depthwise=depthwise)
        assert passes and all(isinstance(found, Pass) for found in passes)
        assert len({found.name for found in passes}) == len(passes)
        assert passes[-1].activations == "on", "errors would not be those of the finished network"
        for found in passes:
            assert 0 <= found.keep <= 1 and 0 < found.steps <= 10
            assert found.activations == "on" or (found.keep == 1 and found.scales is None)
            assert found.rounding is None or isinstance(found.rounding, LearnRounding)
            assert found.scales is None or isinstance(found.scales, LearnScales)
        rounds = [found.rounding for found in passes if found.rounding is not None]
        assert bool(rounds) == issubclass(settings, LearnedRounding)


def takes_its_own_regulariser(name: str) -> None:
    """A regulariser that is given counts, whatever the network."""
    settings = METHODS.get(name).settings
    if issubclass(settings, LearnedRounding):
        passes = passes_of(settings(regulariser=0.7), depthwise=True)
        rounding = next(found.rounding for found in passes if found.rounding is not None)
        assert rounding.regulariser == 0.7


def hardens_every_weight(name: str) -> None:
    """Each weight ends on its grid, a step from where it was at most; nothing is left that learns."""
    network = net.network()
    first = [layer.scale.clone() for layer in layers_of(network.model)]
    outcome = _two_steps(network, name)
    moves = any(found.solve or (found.rounding and found.rounding.scale_lr) for found in _passes(name))
    solved = any(found.solve for found in _passes(name))
    assert all(math.isfinite(unit.error) and unit.error >= 0 for unit in outcome.units)
    assert all(math.isfinite(unit.loss) and unit.loss >= 0 for unit in outcome.units)
    for layer, scale in zip(layers_of(network.model), first, strict=True):
        level = layer.hard / layer.scale + layer.zero_point
        assert layer.soft is None and layer.quantized
        torch.testing.assert_close(level, level.round().clamp(0, 2**layer.bits - 1), atol=1e-4, rtol=0.0)
        assert moves or torch.equal(layer.scale, scale)
        moved = (level - layer.zero_point - layer.reference / scale).abs()
        # A neighbour on the first grid.
        assert solved or moved[(level > 0) & (level < layer.top)].max() < 1 + 1e-4
    for quantizer in activations_of(network.model):
        assert quantizer.mode == "on" and quantizer.drop is None and float(quantizer.scale) > 0
        assert not quantizer.scale.requires_grad
    points = [point for group in outcome.groups for point in group.curve]
    assert all(math.isfinite(point.total) for point in points)
    assert bool(points) == any(found.rounding or found.scales for found in _passes(name))


def repeats_itself(name: str) -> None:
    """The same arguments give the same bits."""
    states = []
    for _ in range(2):
        network = net.network()
        _two_steps(network, name)
        states.append(network.state())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def quantizes_weights_alone(name: str) -> None:
    """With activations in full precision nothing is learned of them."""
    network = net.network(weight=2, activation=32)
    assert not activations_of(network.model)
    outcome = _two_steps(network, name)
    assert all(math.isfinite(unit.error) and unit.error > 0 for unit in outcome.units)
    rounding = {found.name: found.rounding is not None for found in _passes(name)}
    assert all((group.steps > 0) == rounding[group.task] for group in outcome.groups)


def takes_every_option(name: str) -> None:
    """Options that methods share combine with each other and with every option of the bits."""
    known = {field.name for field in fields(METHODS.get(name).settings)}
    options = {
        "loss": "fisher_diag",
        "beta_decay": "cosine",
        "lr_decay": "cosine",
        "learn_zero_points": True,
        "keep_probability": 0.25,
        "learn_weight_scales": True,
        "learn_biases": True,
        "start": "closed_form",
    }
    network = net.network(
        boundary=None, input=8, stem_output=8, symmetric_weights=True, per_tensor_weights=True
    )
    outcome = _two_steps(network, name, **{key: value for key, value in options.items() if key in known})
    assert all(math.isfinite(unit.error) and unit.error > 0 for unit in outcome.units)
    for quantizer in activations_of(network.model):
        assert float(quantizer.zero_point) in range(quantizer.top + 1)
        assert not quantizer.zero_point.requires_grad
    again = network.model(net.images())
    assert torch.equal(again, torch.nn.Sequential(*network.low)(net.images())) and again.isfinite().all()


METHOD_CHECKS = (
    has_a_name_and_words,
    has_sound_passes,
    takes_its_own_regulariser,
    hardens_every_weight,
    repeats_itself,
    quantizes_weights_alone,
    takes_every_option,
)


def _passes(name: str) -> tuple[Pass, ...]:
    return passes_of(METHODS.get(name).settings(), depthwise=True)


def _two_steps(network: QuantizedNetwork, name: str, **options: Any) -> Reconstruction:
    plan = make_plan(
        [unit.facts for unit in network.units],
        network.policy.layers,
        granularity=GranularityConfig(name="fixed", groups=(("first", "second"),)),
        planner=PlannerConfig(),
        model="check",
    )
    settings = Settings(
        method=METHODS.get(name).settings(**options),
        trainer=TrainerConfig(steps=2, batch_size=4, log_every=1),
        seed=3,
        eval_batch=8,
    )
    return reconstruct(network, net.images(), plan, settings)
