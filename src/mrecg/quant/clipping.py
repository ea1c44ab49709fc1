"""How much of the weights stands at the ends of their grids, unit by unit."""

from typing import Any

import torch

from mrecg.quant.modules import QuantizedLayer, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork

RANGES = {
    "bits": "The bit widths of the unit's weights, each once, in rising order.",
    "at_ends": "The fraction of its weights that are the lowest or the highest integer of their grid.",
    "clipped": "The fraction of its weights whose full-precision value lies more than half a step beyond "
    "the ends of their grid.",
}
"""What summary.json says of the weights of a unit."""


@torch.no_grad()
def weight_ranges(network: QuantizedNetwork) -> dict[str, dict[str, Any]]:
    """Measure the weights of each unit against their grids.

    Returns:
        By the name of the unit, values by the keys of `RANGES`. Units without a quantized weight have no
        entry.
    """
    found = {}
    for unit, module in zip(network.units, network.low, strict=True):
        layers = layers_of(module)
        if not layers:
            continue
        weights = sum(layer.integers.numel() for layer in layers)
        found[unit.name] = {
            "bits": sorted({layer.bits for layer in layers}),
            "at_ends": round(sum(map(_at_ends, layers)) / weights, 6),
            "clipped": round(sum(map(_clipped, layers)) / weights, 6),
        }
    return found


def _at_ends(layer: QuantizedLayer) -> int:
    return int(((layer.integers == 0) | (layer.integers == layer.top)).sum())


def _clipped(layer: QuantizedLayer) -> int:
    scale, zero = layer.grid
    place = layer.reference / scale + zero
    return int(((place < -0.5) | (place > layer.top + 0.5)).sum())
