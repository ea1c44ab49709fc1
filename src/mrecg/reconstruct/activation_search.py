"""Activation ranges by the error that they make in the output of the next unit, one quantizer at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mrecg.quant.modules import ActivationQuantizer, activations_of, quantization

IMAGES = 32
"""Images on which errors are measured, at most: each has many positions."""
COARSE = (1.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75)
"""Factors on the scale that are tried first. Of equal ones the first wins: what was found before stays."""
FINE = (1.0, 0.94, 0.97, 1.03, 1.06)
"""Factors on the best of these."""


@torch.no_grad()
def refine(unit: nn.Module, after: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> None:
    """Scale each activation grid of a unit so that the output after it moves least.

    The layers of the next unit read the value at a unit's end, so how much its errors weigh is seen only
    after them. All else stays in full precision meanwhile, so the order of quantizers does not matter.

    Args:
        unit: A quantized unit whose grids have been found, changed in place. Zero points stay.
        after: The next unit in full precision; for the last unit, nothing: the identity.
        batches: What enters the unit in full precision, shape (B, ...) each.
    """
    quantizers = activations_of(unit)
    if not quantizers:
        return
    with quantization(unit, weights=False, activations="off"):
        targets = [after(unit(x)) for x in batches]
        for quantizer in quantizers:
            quantizer.mode = "on"
            for factors in (COARSE, FINE):
                _choose(quantizer, factors, lambda: _error(unit, after, batches, targets))
            quantizer.mode = "off"


def _choose(quantizer: ActivationQuantizer, factors: Sequence[float], error: Callable[[], float]) -> None:
    start, errors = quantizer.scale.detach().clone(), []
    for factor in factors:
        quantizer.scale.copy_(start * factor)
        errors.append(error())
    quantizer.scale.copy_(start * factors[errors.index(min(errors))])


def _error(
    unit: nn.Module,
    after: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    targets: Sequence[Tensor],
) -> float:
    squares = [
        (after(unit(x)) - target).square().double().sum() for x, target in zip(batches, targets, strict=True)
    ]
    return float(torch.stack(squares).sum())
