"""AdaRound (arXiv 2004.10568), BRECQ (2102.05426) in two passes and in one, QDrop (2203.05740)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.references.equations import descend, regulariser, squared_error
from tests.references.units import Data, Draws, Outcome, Unit


def adaround(
    unit: Unit, data: Data, draws: Draws, *, lr: float, weight: float, quantize: bool = True
) -> Outcome:
    """Learn the rounding alone; activation steps stay, or (quantize False) activations are full precision."""
    alphas, steps = unit.alphas(), unit.steps() if quantize else None

    def losses(t: int) -> tuple[Tensor, ...]:
        i = draws.images[t]
        out = unit.run(data.quantized[i], unit.soft(alphas), steps)
        rounding = weight * regulariser(alphas, t, len(draws.images))
        return squared_error(out, data.target[i], data.importance[i]), rounding

    history = descend(len(draws.images), [(alphas, lr, False)], losses)
    return Outcome(history, unit.rounded(alphas), alphas, steps or ())


def brecq_rounding(unit: Unit, data: Data, draws: Draws, *, lr: float, weight: float) -> Outcome:
    """BRECQ's first pass, all activations in full precision."""
    return adaround(unit, data, draws, lr=lr, weight=weight, quantize=False)


def brecq_scales(
    unit: Unit, integers: Sequence[Tensor], data: Data, draws: Draws, *, lr_scale: float
) -> Outcome:
    """BRECQ's second pass: the integers stay, the activation steps are learned."""
    steps, weights = unit.steps(), unit.hard(integers)

    def losses(t: int) -> tuple[Tensor, ...]:
        i = draws.images[t]
        out = unit.run(data.quantized[i], weights, steps)
        return squared_error(out, data.target[i], data.importance[i]), torch.zeros(())

    history = descend(len(draws.images), [(steps, lr_scale, True)], losses)
    return Outcome(history, integers, steps=steps)


def brecq_joint(
    unit: Unit, data: Data, draws: Draws, *, lr: float, lr_scale: float, weight: float
) -> Outcome:
    """Rounding and activation steps together."""
    alphas, steps = unit.alphas(), unit.steps()

    def losses(t: int) -> tuple[Tensor, ...]:
        i = draws.images[t]
        out = unit.run(data.quantized[i], unit.soft(alphas), steps)
        rounding = weight * regulariser(alphas, t, len(draws.images))
        return squared_error(out, data.target[i], data.importance[i]), rounding

    history = descend(len(draws.images), [(alphas, lr, False), (steps, lr_scale, True)], losses)
    return Outcome(history, unit.rounded(alphas), alphas, steps)


def qdrop(unit: Unit, data: Data, draws: Draws, *, lr: float, lr_scale: float, weight: float) -> Outcome:
    """As `brecq_joint`, with input and activations quantized only where the masks say so."""
    alphas, steps = unit.alphas(), unit.steps()

    def losses(t: int) -> tuple[Tensor, ...]:
        i, (first, *inner) = draws.images[t], draws.masks[t]
        x = torch.where(first, data.quantized[i], data.full[i])
        out = unit.run(x, unit.soft(alphas), steps, inner)
        rounding = weight * regulariser(alphas, t, len(draws.images))
        return squared_error(out, data.target[i], data.importance[i]), rounding

    history = descend(len(draws.images), [(alphas, lr, False), (steps, lr_scale, True)], losses)
    return Outcome(history, unit.rounded(alphas), alphas, steps)
