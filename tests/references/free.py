"""What is free at inference, learned with the rounding: log-steps of the weight grids, and biases."""

from dataclasses import replace

import torch
from torch import Tensor

from tests.references.equations import clipped, descend, h, regulariser, squared_error
from tests.references.units import Data, Draws, Outcome, Unit


def output_deviations(unit: Unit, x: Tensor) -> list[float]:
    """Standard deviation of each convolution's output, with weights in full precision."""
    found: list[float] = []
    plain = unit.wiring

    def watching(conv, quantize, y):  # type: ignore[no-untyped-def]
        def seen(i: int, z: Tensor) -> Tensor:
            out = conv(i, z)
            found.append(float(out.std(correction=0)))
            return out

        return plain(seen, quantize, y)

    with torch.no_grad():
        replace(unit, wiring=watching).run(x, [layer.weight for layer in unit.layers], unit.steps())
    return found


def learned_freely(
    unit: Unit,
    data: Data,
    draws: Draws,
    *,
    lr: float | None,
    lr_scale: float,
    lr_weight_scale: float,
    lr_bias: float,
    weight: float,
) -> Outcome:
    """QDrop, with s = s0 * exp(g) and b = b0 + d; Adam's rate for d is in deviations of the output.

    Without a rate for the rounding every weight stays at the integer that is nearest to it.
    """
    alphas, steps = unit.alphas(), unit.steps()
    factors = [torch.zeros_like(layer.step, requires_grad=True) for layer in unit.layers]
    biases = [layer.bias.clone().requires_grad_() for layer in unit.layers]
    nearest = unit.nearest()
    spread = output_deviations(unit, data.quantized[: len(draws.images[0])])

    def losses(t: int) -> tuple[Tensor, ...]:
        i, (first, *inner) = draws.images[t], draws.masks[t]
        x = torch.where(first, data.quantized[i], data.full[i])
        integers = nearest
        if lr is not None:
            soft = zip(unit.layers, alphas, strict=True)
            integers = [clipped(layer.floor + h(alpha) + layer.zero, layer.top) for layer, alpha in soft]
        weights = [
            layer.step * g.exp() * (each - layer.zero)
            for layer, each, g in zip(unit.layers, integers, factors, strict=True)
        ]
        layers = [replace(layer, bias=b) for layer, b in zip(unit.layers, biases, strict=True)]
        out = replace(unit, layers=layers).run(x, weights, steps, inner)
        rounding = weight * regulariser(alphas, t, len(draws.images)) if lr is not None else out.new_zeros(())
        return squared_error(out, data.target[i], data.importance[i]), rounding

    groups = [] if lr is None else [(alphas, lr, False)]
    groups += [(factors, lr_weight_scale, True), (steps, lr_scale, True)]
    groups += [([bias], lr_bias * size, True) for bias, size in zip(biases, spread, strict=True)]
    history = descend(len(draws.images), groups, losses)
    scales = [layer.step * g.exp() for layer, g in zip(unit.layers, factors, strict=True)]
    return Outcome(history, nearest if lr is None else unit.rounded(alphas), alphas, steps, scales, biases)
