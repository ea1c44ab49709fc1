"""Activation ranges by the error after the next unit, found while a network is calibrated."""

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.schema import CalibrationConfig
from mrecg.quant.modules import ActivationQuantizer, activations_of
from mrecg.reconstruct import activation_search
from mrecg.reconstruct.activation_search import COARSE, FINE
from mrecg.reconstruct.calibrate import calibrate
from mrecg.testing import network as net


def options(how: str) -> CalibrationConfig:
    return CalibrationConfig(bins=128, candidates=8, activation_range=how)  # type: ignore[arg-type]


def rounded(x: Tensor, scale: float, zero: float, top: int) -> Tensor:
    """Fake quantization, written down once more."""
    return ((x / scale).round() + zero).clamp(0, top).sub(zero).mul(scale)


def unit_of(bits: int, scale: float) -> nn.Sequential:
    quantizer = ActivationQuantizer(bits, bounds=(0.0, float("inf")))
    quantizer.scale.fill_(scale)
    return nn.Sequential(quantizer)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("start", [0.1, 0.5, 3.0])
def test_the_best_of_all_factors_is_found(bits: int, start: float) -> None:
    torch.manual_seed(bits)
    x, after = torch.randn(6, 3, 4, 4), nn.Conv2d(3, 5, 3)
    unit = unit_of(bits, start)
    with torch.no_grad():
        activation_search.refine(unit, after, x.split(4))

        def error(scale: float) -> float:
            values = x.relu()
            found = after(rounded(values, scale, 0.0, 2**bits - 1)) - after(values)
            return float(found.detach().double().square().sum())

        best = min((start * factor for factor in COARSE), key=error)
        best = min((best * factor for factor in FINE), key=error)
    assert float(unit[0].scale) == pytest.approx(best, rel=1e-6)
    assert unit[0].mode == "on" and error(best) <= error(start)


def test_what_is_read_counts_and_not_what_is_large() -> None:
    """A channel of large values that the next unit does not read: the grid serves the other one."""
    torch.manual_seed(0)
    x = torch.rand(8, 2, 4, 4) * torch.tensor([1.0, 4.0])[:, None, None]
    after = nn.Conv2d(2, 3, 1, bias=False)
    with torch.no_grad():
        after.weight[:, 1] = 0
        unit = unit_of(2, 4 / 3)
        activation_search.refine(unit, after, [x])
        assert (
            float(unit[0].scale) < 0.8
        )  # 1 / 3 would serve the first channel alone; factors go down to 0.376
        alone = unit_of(2, 4 / 3)
        activation_search.refine(alone, nn.Identity(), [x])
    assert float(alone[0].scale) > 1


def test_a_network_is_calibrated_so_that_outputs_move_less() -> None:
    plain, other = net.network(), net.network()
    for network, how in ((plain, "lp"), (other, "output")):
        assert list(calibrate(network, net.images(), options(how), batch=16)) == list(net.UNITS)
    x, worse = net.images()[:32], []
    with torch.no_grad():
        for index, (one, two) in enumerate(zip(plain.low, other.low, strict=True)):
            assert all(quantizer.observer is None for quantizer in activations_of(two))
            following = nn.Sequential(*plain.full[index + 1 : index + 2])
            for a, b in zip(activations_of(one), activations_of(two), strict=True):
                assert torch.equal(a.zero_point, b.zero_point) and float(b.scale) > 0
            if len(activations_of(one)) == 1:  # others beside it would add their errors
                worse.append(_moved(two, following, x) > _moved(one, following, x) * (1 + 1e-6))
            x = plain.full[index](x)
    assert worse and not any(worse)
    assert any(
        float(a.scale) != float(b.scale)
        for a, b in zip(activations_of(plain.model), activations_of(other.model), strict=True)
    )
    again = net.network()
    list(calibrate(again, net.images(), options("output"), batch=16))
    assert all(torch.equal(value, again.state()[name]) for name, value in other.state().items())


def _moved(unit: nn.Module, after: nn.Module, x: Tensor) -> float:
    from mrecg.quant.modules import quantization

    with quantization(unit, weights=False, activations="off"):
        target = after(unit(x))
    with quantization(unit, weights=False):
        return float((after(unit(x)) - target).square().sum())
