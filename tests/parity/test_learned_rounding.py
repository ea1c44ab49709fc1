"""AdaRound, BRECQ in two passes and in one, and QDrop against their references."""

import pytest
import torch

from mrecg.methods.adaround import AdaRound
from mrecg.methods.brecq import Brecq
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.qdrop import QDrop
from tests.parity.compare import (
    check_losses,
    check_parameters,
    check_rounding_moved,
    check_steps_moved,
    check_unit,
)
from tests.parity.harness import STEPS, run
from tests.parity.networks import Inverted
from tests.references import learned_rounding as references
from tests.references.units import Draws

LR, LR_SCALE, WEIGHT = 0.03, 0.02, 0.02
every_kind = pytest.mark.parametrize("kind", ["plain", "basic", "inverted"])


def test_the_inverted_residual_is_signed_and_reaches_six() -> None:
    done = run("inverted", QDrop(), steps=1)
    assert [grid.zero > 0 for grid in done.start.grids] == [False, False, True]
    unit, x = done.net.unit, done.data().full
    assert isinstance(unit, Inverted)
    for part in (unit.expand, unit.depthwise):
        x = part(x)
        assert float(x.detach().max()) == 6


@every_kind
def test_adaround(kind: str) -> None:
    done = run(kind, AdaRound(lr_rounding=LR, regulariser=WEIGHT))
    expected = references.adaround(done.start, done.data(), done.fits[0].draws, lr=LR, weight=WEIGHT)
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)
    check_rounding_moved(done, expected)


@every_kind
def test_brecq(kind: str) -> None:
    method = Brecq(lr_rounding=LR, regulariser=WEIGHT, lr_scale=LR_SCALE, scale_steps=1.0)
    done = run(kind, method)
    assert len(done.fits) == len(done.curves) == 2
    rounding, scales = done.fits[0].draws, done.fits[1].draws
    first = references.brecq_rounding(
        done.start, done.data(activations="off"), rounding, lr=LR, weight=WEIGHT
    )
    check_losses(done.curves[0], first)
    check_parameters(done.fits[0].alphas, first.alphas)
    second = references.brecq_scales(done.start, first.integers, done.data(), scales, lr_scale=LR_SCALE)
    check_losses(done.curves[1], second)
    check_unit(done, second)
    check_rounding_moved(done, second)
    check_steps_moved(done, second)


@every_kind
def test_brecq_joint(kind: str) -> None:
    done = run(kind, BrecqJoint(lr_rounding=LR, regulariser=WEIGHT, lr_scale=LR_SCALE))
    rates = {"lr": LR, "lr_scale": LR_SCALE, "weight": WEIGHT}
    expected = references.brecq_joint(done.start, done.data(), done.fits[0].draws, **rates)
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)
    check_rounding_moved(done, expected)
    check_steps_moved(done, expected)


@pytest.mark.parametrize(
    ("kind", "keep"), [("plain", 0.5), ("basic", 0.5), ("inverted", 0.5), ("basic", 0.25)]
)
def test_qdrop(kind: str, keep: float) -> None:
    method = QDrop(lr_rounding=LR, regulariser=WEIGHT, lr_scale=LR_SCALE, keep_probability=keep)
    done = run(kind, method)
    draws = done.fits[0].draws
    assert len(draws.masks) == STEPS
    assert all(len(places) == 1 + len(done.start.grids) for places in draws.masks)
    kept = torch.cat([mask.flatten() for places in draws.masks for mask in places]).double().mean()
    assert float(kept) == pytest.approx(keep, abs=0.005)
    rates = {"lr": LR, "lr_scale": LR_SCALE, "weight": WEIGHT}
    expected = references.qdrop(done.start, done.data(), draws, **rates)
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)
    check_rounding_moved(done, expected)
    check_steps_moved(done, expected)
    ones = Draws(draws.images[:1], [[torch.ones_like(mask) for mask in draws.masks[0]]])
    other = references.qdrop(done.start, done.data(), ones, **rates)
    assert abs(other.losses[0][0] / expected.losses[0][0] - 1) > 0.01  # the masks matter
