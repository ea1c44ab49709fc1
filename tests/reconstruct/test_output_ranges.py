"""Weight ranges by the error of the output, found while a network is calibrated."""

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.schema import CalibrationConfig
from mrecg.quant.affine import quantize
from mrecg.quant.modules import QuantizedLayer, activations_of, layers_of
from mrecg.reconstruct import output_ranges
from mrecg.reconstruct.calibrate import calibrate
from mrecg.testing import network as net


def uneven(count: int = 40) -> Tensor:
    """Make inputs of a depthwise layer whose pixels are nearly equal: the mean of the weights counts most."""
    torch.manual_seed(0)
    return torch.randn(count, 6, 1, 1) + 0.05 * torch.randn(count, 6, 7, 7)


def layers(kind: str) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(6, 6, 3, groups=6) if kind == "depthwise" else nn.Conv2d(6, 8, 1)


@pytest.mark.parametrize("kind", ["depthwise", "1x1"])
@pytest.mark.parametrize("bits", [2, 4])
def test_the_output_is_nearer_than_with_lp(kind: str, bits: int) -> None:
    layer, x = layers(kind), uneven()
    errors = {}
    for how in ("lp", "output"):
        unit = nn.Sequential(QuantizedLayer(layer, bits=bits))
        if how == "lp":
            unit[0].calibrate(kind="lp", norm=2.4, candidates=80)
        else:
            output_ranges.find_ranges(unit, x.split(8))
        errors[how] = float((unit(x) - layer(x)).square().mean().detach())
        nearest = quantize(layer.weight, *unit[0].grid, unit[0].top)
        assert torch.equal(unit[0].integers.float(), nearest)
    assert kind == "depthwise" or errors["output"] < errors["lp"]


def test_how_large_inputs_are_does_not_matter() -> None:
    scales = []
    for factor in (1, 64):
        unit = nn.Sequential(QuantizedLayer(layers("1x1"), bits=3))
        output_ranges.find_ranges(unit, (factor * uneven()).split(8))
        scales.append(unit[0].scale.clone())
    torch.testing.assert_close(*scales)


def test_activations_are_calibrated_as_before() -> None:
    plain, other = net.network(), net.network()
    options = CalibrationConfig(bins=128, candidates=8, weight_range="output")
    assert list(calibrate(other, net.images(), options, batch=16)) == list(net.UNITS)
    for one, two in zip(activations_of(plain.model), activations_of(other.model), strict=True):
        assert torch.equal(one.scale, two.scale) and two.mode == "on" and two.observer is None
    pairs = list(zip(layers_of(plain.model), layers_of(other.model), strict=True))
    assert any(not torch.equal(one.scale, two.scale) for one, two in pairs)
    assert all(two.quantized and two.scale.isfinite().all() for _, two in pairs)
    again = net.network()
    list(calibrate(again, net.images(), options, batch=16))
    assert all(torch.equal(value, again.state()[name]) for name, value in other.state().items())
