"""Genie-M against its reference."""

import pytest

from mrecg.methods.genie_m import GenieM
from mrecg.quant.modules import layers_of
from tests.parity.compare import (
    check_losses,
    check_parameters,
    check_rounding_moved,
    check_steps_moved,
    check_unit,
)
from tests.parity.harness import run
from tests.references.genie import genie_m


@pytest.mark.parametrize("kind", ["plain", "basic", "inverted"])
def test_genie_m(kind: str) -> None:
    done = run(kind, GenieM(lr_rounding=0.05, lr_scale=0.02, lr_weight_scale=0.005, regulariser=0.02))
    expected = genie_m(
        done.start,
        done.data(),
        done.fits[0].draws,
        lr=0.05,
        lr_scale=0.02,
        lr_weight_scale=0.005,
        weight=0.02,
    )
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)
    found = layers_of(done.low)
    check_parameters([layer.scale for layer in found], expected.weight_steps)
    for layer, start, integers, s in zip(
        found, done.start.layers, expected.integers, expected.weight_steps, strict=True
    ):
        check_parameters([layer.hard], [s * (integers - start.zero)])
        change = (s.detach() / start.step - 1).abs()
        assert change.min() > 1e-4 and change.max() > 0.01  # so that the check can fail
    check_rounding_moved(done, expected)
    check_steps_moved(done, expected)


def test_the_published_rates_are_the_default() -> None:
    assert (GenieM().regulariser, GenieM().lr_weight_scale) == (1.0, 1e-4)
