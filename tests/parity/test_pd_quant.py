"""PD-Quant against its reference: the prediction's difference, and the correction of activations."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mrecg.config.schema import CacheConfig
from mrecg.methods.passes import Correction
from mrecg.methods.pd_quant import PdQuant
from mrecg.methods.qdrop import QDrop
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.correction import correct
from tests.parity.compare import (
    check_losses,
    check_parameters,
    check_rounding_moved,
    check_steps_moved,
    check_unit,
)
from tests.parity.harness import UNIT, Run, run
from tests.references.fisher import fisher_importance
from tests.references.pd_quant import corrected, pd_quant
from tests.references.units import Data, Outcome

LR, LR_SCALE, WEIGHT = 0.03, 0.02, 0.02
METHOD = PdQuant(
    lr_rounding=LR, lr_scale=LR_SCALE, regulariser=WEIGHT, correction_steps=0.2, correction_lr=0.05
)
SETTINGS = {"plain": (4.0, 0.02), "basic": (4.0, 0.02), "bare": (4.0, 0.02), "inverted": (1.0, 0.005)}
"""Temperature and strength of the correction: the second is what depthwise convolutions ask for."""


def moved(done: Run, strength: float) -> Data:
    """Correct the FP inputs in ten steps, and take the FP outputs on them as targets."""
    data = done.data()
    full = corrected(data.full, done.net.unit, steps=10, lr=0.05, strength=strength)
    return replace(data, full=full, target=done.net.unit(full).detach())


def expected_of(done: Run, data: Data, temperature: float) -> Outcome:
    return pd_quant(
        done.start,
        data,
        done.fits[0].draws,
        done.tail,
        done.logits,
        lr=LR,
        lr_scale=LR_SCALE,
        weight=WEIGHT,
        prediction_weight=10.0,
        temperature=temperature,
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_pd_quant(kind: str) -> None:
    done = run(kind, METHOD)
    temperature, strength = SETTINGS[kind]
    data = moved(done, strength)
    change = float((data.full - done.data().full).abs().max())
    assert change == 0 if kind == "bare" else change > 0.01  # no BatchNorm, no correction
    expected = expected_of(done, data, temperature)
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)
    check_rounding_moved(done, expected)
    if kind != "bare":  # that has small activations
        check_steps_moved(done, expected)
    assert min(prediction for _, _, prediction in expected.losses) > 1e-4  # so that the check can fail


def test_with_fisher_weights_of_the_prediction_on_the_images_themselves() -> None:
    done = run("basic", replace(METHOD, loss="fisher_diag"))
    temperature, strength = SETTINGS["basic"]
    data, unit = moved(done, strength), done.start
    out = unit.run(data.quantized, unit.hard(unit.nearest()), unit.steps())
    data = replace(data, importance=fisher_importance(out, done.tail, done.logits))
    check_losses(done.curves[0], expected_of(done, data, temperature))


def test_the_correction_in_batches_with_a_falling_rate() -> None:
    done = run("plain", QDrop(), images=36, steps=1)
    full, unit = done.data().full, done.net.unit
    with Cache(CacheConfig(), full.device) as cache:
        settings = Correction(steps=1.0, lr=10.0, strength=0.02)  # so fast that it stops to improve
        store = correct(
            [done.network.unfolded(UNIT)],
            Store.of(full),
            settings,
            steps=115,
            cache=cache,
            report=lambda steps: None,
        )
        found = store.take(torch.arange(36))
    expected = corrected(full, unit, steps=115, lr=10.0, strength=0.02)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    other = corrected(full, unit, steps=115, lr=10.0, strength=0.02, batch=36)
    assert float((other - expected).abs().max()) > 1e-3  # the rate falls by a batch's loss
    for part in unit.modules():  # nothing has changed what it is corrected by
        assert not isinstance(part, nn.BatchNorm2d) or not part.training


def test_the_published_rates_are_the_default() -> None:
    method = PdQuant()
    assert (method.lr_rounding, method.prediction_weight, method.temperature) == (3e-3, 10.0, None)
    assert (method.correction_steps, method.correction_lr) == (0.025, 1e-3)
