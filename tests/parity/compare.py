"""What it means that the package and a reference agree."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mrecg.quant.modules import activations_of, layers_of
from mrecg.reconstruct.events import CurvePoint
from tests.parity.harness import Run
from tests.references.units import Outcome

RELATIVE = 1e-9
"""float64 leaves about 1e-12 behind 50 steps; a wrong factor or a step off by one is far above this."""


def check_losses(curve: Sequence[CurvePoint], outcome: Outcome) -> None:
    """Compare the losses of every step: reconstruction, rounding and perhaps the prediction's."""
    assert [point.step for point in curve] == list(range(len(outcome.losses)))
    for point, (reconstruction, rounding, *prediction) in zip(curve, outcome.losses, strict=True):
        assert point.reconstruction == pytest.approx(reconstruction, rel=RELATIVE)
        assert (point.rounding or 0.0) == pytest.approx(rounding, rel=RELATIVE, abs=0)
        if prediction:
            assert point.prediction == pytest.approx(prediction[0], rel=RELATIVE)
        assert point.total == pytest.approx(sum((reconstruction, rounding, *prediction)), rel=RELATIVE)


def check_parameters(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compare what was learned."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=RELATIVE, atol=RELATIVE)


def check_unit(run: Run, outcome: Outcome) -> None:
    """Compare the finished unit's integers and activation steps with the reference's, exactly and nearly."""
    for layer, integers in zip(layers_of(run.low), outcome.integers, strict=True):
        assert torch.equal(layer.integers.double(), integers)
    if outcome.steps:
        check_parameters([q.scale for q in activations_of(run.low)], outcome.steps)


def check_rounding_moved(run: Run, outcome: Outcome) -> None:
    """Make sure that the check could fail: some weights of each layer are not rounded to nearest any more."""
    for integers, nearest in zip(outcome.integers, run.start.nearest(), strict=True):
        assert (integers != nearest).sum() >= 3


def check_steps_moved(run: Run, outcome: Outcome) -> None:
    """Make sure that the check could fail: activation steps have moved, by a percent and more."""
    pairs = zip(run.start.grids, outcome.steps, strict=True)
    moves = [abs(float(step.detach() / grid.step) - 1) for grid, step in pairs]
    assert min(moves) > 1e-3 and max(moves) > 0.01
