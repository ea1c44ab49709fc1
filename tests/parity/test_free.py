"""Learned biases and relative weight scales against their reference."""

import pytest

from mrecg.methods.qdrop import QDrop
from mrecg.quant.modules import layers_of
from tests.parity.compare import check_losses, check_parameters, check_rounding_moved, check_steps_moved
from tests.parity.harness import UNIT, run
from tests.references.free import learned_freely


@pytest.mark.parametrize("rounds", [True, False], ids=["rounding", "integers stay"])
@pytest.mark.parametrize("kind", ["plain", "basic", "inverted"])
def test_biases_and_relative_weight_scales(kind: str, rounds: bool) -> None:
    rates = {"lr_scale": 0.02, "lr_weight_scale": 0.01, "lr_bias": 0.01}
    method = QDrop(
        lr_rounding=0.05,
        regulariser=0.02,
        learn_rounding=rounds,
        learn_biases=True,
        learn_weight_scales=True,
        **rates,
    )
    done = run(kind, method)
    expected = learned_freely(
        done.start, done.data(), done.fits[0].draws, lr=0.05 if rounds else None, weight=0.02, **rates
    )
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas if rounds else [])
    found = layers_of(done.low)
    check_parameters([layer.scale for layer in found], expected.weight_steps)
    check_parameters([layer.layer.bias for layer in found], expected.biases)
    for layer, start, integers, scale in zip(
        found, done.start.layers, expected.integers, expected.weight_steps, strict=True
    ):
        check_parameters([layer.hard], [scale * (integers - start.zero)])
        assert (scale.detach() / start.step - 1).abs().max() > 0.01  # so that the check can fail
        assert layer.owns_bias and not layer.layer.bias.requires_grad
    moved = [b.detach() - s.bias for b, s in zip(expected.biases, done.start.layers, strict=True)]
    assert min(float(change.abs().max()) for change in moved) > 0.01
    # The full-precision unit keeps its own.
    kept = [p for name, p in done.network.full[UNIT].named_parameters() if name.endswith("bias")]
    check_parameters(kept, [layer.bias for layer in done.start.layers])
    if rounds:
        check_rounding_moved(done, expected)
    check_steps_moved(done, expected)
