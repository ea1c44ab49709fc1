"""The weights of units against their grids, counted by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from mrecg.config.schema import BitsConfig
from mrecg.graph.partition import partition
from mrecg.quant.clipping import weight_ranges
from mrecg.quant.modules import QuantizedLayer, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork


@pytest.fixture
def network(traced_of: Callable[[str], fx.GraphModule]) -> QuantizedNetwork:
    traced = traced_of("embedded")
    made = QuantizedNetwork(traced, partition(traced), BitsConfig(weight=3))
    for layer in layers_of(made.model):
        layer.calibrate(kind="minmax", norm=2.4, candidates=8)
    return made


def halve(layer: QuantizedLayer) -> Tensor:
    """Give a layer a grid of half the range."""
    layer.round_on(layer.scale / 2, layer.zero_point)
    return layer.integers


def test_extremes_clip_nothing_and_have_the_ends(network: QuantizedNetwork) -> None:
    found = weight_ranges(network)
    assert list(found) == [unit.name for unit in network.units]
    for unit, module in zip(network.units, network.low, strict=True):
        integers = torch.cat([layer.integers.flatten() for layer in layers_of(module)])
        tops = torch.cat([torch.full((one.integers.numel(),), one.top) for one in layers_of(module)])
        expected = ((integers == 0) | (integers == tops)).double().mean().item()
        assert found[unit.name]["at_ends"] == pytest.approx(expected, abs=1e-6) and expected > 0
        assert found[unit.name]["clipped"] == 0
    # The last layer's 8 bits stand beside those of the convolution in its unit.
    assert found[network.units[0].name]["bits"] == [8] and found[network.units[-1].name]["bits"] == [3, 8]
    assert all(found[unit.name]["bits"] == [3] for unit in network.units[1:-1])


def test_a_narrow_grid_clips(network: QuantizedNetwork) -> None:
    before, name = weight_ranges(network), network.units[3].name
    layers = layers_of(network.low[3])
    beyond = 0
    for layer in layers:
        halve(layer)
        scale, zero = layer.grid
        low, high = -(zero + 0.5) * scale, (layer.top - zero + 0.5) * scale
        beyond += int(((layer.reference < low) | (layer.reference > high)).sum())
    found = weight_ranges(network)
    weights = sum(layer.integers.numel() for layer in layers)
    assert found[name]["clipped"] == pytest.approx(beyond / weights, abs=2e-5) and beyond > 0
    assert found[name]["at_ends"] > before[name]["at_ends"]
    assert {key: value for key, value in found.items() if key != name} == {
        key: value for key, value in before.items() if key != name
    }


def test_units_in_floating_point_have_no_entry(traced_of: Callable[[str], fx.GraphModule]) -> None:
    traced = traced_of("embedded")
    assert weight_ranges(QuantizedNetwork(traced, partition(traced), BitsConfig(weight=32))) == {}
