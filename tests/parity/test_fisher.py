"""loss=fisher_diag against its reference."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from mrecg.methods.brecq import Brecq
from mrecg.methods.qdrop import QDrop
from tests.parity.compare import check_losses, check_parameters, check_unit
from tests.parity.harness import Run, run
from tests.references import learned_rounding as references
from tests.references.fisher import fisher_importance
from tests.references.units import Data

LR, LR_SCALE, WEIGHT = 0.03, 0.02, 0.02


def weighted(done: Run, integers: Sequence[Tensor], *, activations: Literal["on", "off"] = "on") -> Data:
    """Weigh the unit's errors by what its output is before its optimisation."""
    data, unit = done.data(activations=activations), done.start
    steps = None if activations == "off" else unit.steps()
    out = unit.run(data.quantized, unit.hard(integers), steps)
    importance = fisher_importance(out, done.tail, done.logits)
    assert float(importance.max()) > 1.0001  # so that the check can fail
    return replace(data, importance=importance)


@pytest.mark.parametrize("kind", ["plain", "basic", "inverted"])
def test_qdrop(kind: str) -> None:
    method = QDrop(lr_rounding=LR, lr_scale=LR_SCALE, regulariser=WEIGHT, loss="fisher_diag")
    done = run(kind, method)
    data = weighted(done, done.start.nearest())
    draws = done.fits[0].draws
    expected = references.qdrop(done.start, data, draws, lr=LR, lr_scale=LR_SCALE, weight=WEIGHT)
    check_losses(done.curves[0], expected)
    check_parameters(done.fits[0].alphas, expected.alphas)
    check_unit(done, expected)


def test_both_passes_of_brecq() -> None:
    method = Brecq(lr_rounding=LR, lr_scale=LR_SCALE, regulariser=WEIGHT, scale_steps=1.0, loss="fisher_diag")
    done = run("basic", method)
    rounding, scales = done.fits[0].draws, done.fits[1].draws
    data = weighted(done, done.start.nearest(), activations="off")
    first = references.brecq_rounding(done.start, data, rounding, lr=LR, weight=WEIGHT)
    check_losses(done.curves[0], first)
    data = weighted(done, first.integers)
    second = references.brecq_scales(done.start, first.integers, data, scales, lr_scale=LR_SCALE)
    check_losses(done.curves[1], second)
    check_unit(done, second)


def test_an_image_keeps_its_weight_in_any_company() -> None:
    done = run("plain", QDrop(), steps=1)
    out = torch.rand_like(done.data().target)
    whole = fisher_importance(out, done.tail, done.logits)
    alone = fisher_importance(out[:1], done.tail, done.logits[:1])
    torch.testing.assert_close(whole[:1], alone)
