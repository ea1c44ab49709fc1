"""Genie-M, arXiv 2212.04780: the steps of the weight grids learned over a fixed floor."""

import torch
from torch import Tensor

from tests.references.equations import clipped, descend, h, regulariser, squared_error
from tests.references.units import Data, Draws, Outcome, Unit


def genie_m(
    unit: Unit,
    data: Data,
    draws: Draws,
    *,
    lr: float,
    lr_scale: float,
    lr_weight_scale: float,
    weight: float,
) -> Outcome:
    """QDrop, with w = s * (clamp(B + h(alpha) + z, 0, top) - z), B = floor(w / s0), and s learned from s0."""
    alphas, steps = unit.alphas(), unit.steps()
    weight_steps = [layer.step.clone().requires_grad_() for layer in unit.layers]

    def losses(t: int) -> tuple[Tensor, ...]:
        i, (first, *inner) = draws.images[t], draws.masks[t]
        x = torch.where(first, data.quantized[i], data.full[i])
        weights = [
            s * (clipped(layer.floor + h(alpha) + layer.zero, layer.top) - layer.zero)
            for layer, alpha, s in zip(unit.layers, alphas, weight_steps, strict=True)
        ]
        out = unit.run(x, weights, steps, inner)
        rounding = weight * regulariser(alphas, t, len(draws.images))
        return squared_error(out, data.target[i], data.importance[i]), rounding

    groups = [(alphas, lr, False), (weight_steps, lr_weight_scale, True), (steps, lr_scale, True)]
    history = descend(len(draws.images), groups, losses)
    return Outcome(history, unit.rounded(alphas), alphas, steps, weight_steps)
