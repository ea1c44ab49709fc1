from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, fx, nn

from mrecg.config.schema import BitsConfig, CalibrationConfig
from mrecg.errors import CheckpointError
from mrecg.graph.partition import partition
from mrecg.quant import ranges
from mrecg.quant.modules import QuantizedLayer, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.quant.size import quantized_bytes
from mrecg.reconstruct.calibrate import calibrate
from mrecg.reconstruct.soft_rounding import SoftRounding

F64 = torch.float64
Trace = Callable[[str], fx.GraphModule]
Kind = Literal["lp", "minmax"]
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv1d": lambda: nn.Conv1d(4, 6, 3),
    "conv2d_grouped": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "transpose2d": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
    "transpose3d": lambda: nn.ConvTranspose3d(3, 4, 2),
    "linear": lambda: nn.Linear(30, 25),  # more values than a row without a histogram
}


def calibrated(
    layer: nn.Module, kind: Kind = "lp", *, bits: int = 3, symmetric: bool = False, per_tensor: bool = True
) -> QuantizedLayer:
    wrapped = QuantizedLayer(layer, bits=bits, symmetric=symmetric, per_tensor=per_tensor)
    wrapped.calibrate(kind=kind, norm=2.4, candidates=40)
    return wrapped


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_one_grid_is_the_grid_of_all_weights(name: str, symmetric: bool, dtype: torch.dtype) -> None:
    layer = LAYERS[name]().to(dtype)
    assert isinstance(layer.weight, Tensor)
    weight = layer.weight.detach()
    for kind in ("minmax", "lp"):
        wrapped = calibrated(layer, kind, symmetric=symmetric)
        assert wrapped.scale.shape == wrapped.zero_point.shape == (1,) * weight.dim()
        scale, zero = wrapped.scale.item(), wrapped.zero_point.item()
        if kind == "minmax":
            low, high = min(float(weight.min()), 0.0), max(float(weight.max()), 0.0)
            expected = max(-low / 4, high / 3) if symmetric else (high - low) / 7
            assert scale == pytest.approx(expected, rel=1e-6)
            assert zero == (4 if symmetric else round(-low / expected))
        integers = (torch.round(weight / scale) + zero).clamp(0, 7)
        # In float32 the scale is the same number, so ties and ends are as well.
        assert torch.equal(wrapped.integers, integers.to(torch.uint8))
        torch.testing.assert_close(wrapped.hard, (integers - zero) * scale)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_search_finds_no_worse_a_grid_than_the_extremes(symmetric: bool) -> None:
    layer = nn.Linear(40, 30)
    layer.weight.data.normal_().pow_(3)  # tails that are worth clipping
    errors = {
        kind: (calibrated(layer, kind, symmetric=symmetric).hard - layer.weight).abs().pow(2.4).sum().item()
        for kind in ("lp", "minmax")
    }
    assert errors["lp"] < 0.8 * errors["minmax"]
    row = layer.weight.detach().reshape(1, -1)
    summary = ranges.summarise(row, bins=512)
    scale, zero = ranges.search(summary, 7, norm=2.4, candidates=40, symmetric=symmetric)
    found = calibrated(layer, symmetric=symmetric)
    assert found.scale.item() == scale.item() and found.zero_point.item() == zero.item()


def test_it_is_the_layer_of_one_channel_where_there_is_one() -> None:
    layer = nn.Conv2d(5, 1, 3)
    whole, channels = calibrated(layer), calibrated(layer, per_tensor=False)
    assert torch.equal(whole.scale, channels.scale) and torch.equal(whole.hard, channels.hard)


@pytest.mark.parametrize("name", ["conv2d_grouped", "transpose2d", "linear"])
def test_soft_rounding_takes_one_grid_as_the_same_grid_in_every_channel(name: str) -> None:
    layer = LAYERS[name]()
    whole, channels = calibrated(layer), calibrated(layer, per_tensor=False)
    channels.scale.fill_(whole.scale.item())
    channels.zero_point.fill_(whole.zero_point.item())
    ends = []
    for wrapped in (whole, channels):
        rounding = SoftRounding([wrapped])
        rounding.lend()
        assert wrapped.soft is not None
        soft = wrapped.soft.detach().clone()
        rounding.alpha.data.add_(
            torch.randn(rounding.alpha.shape, generator=torch.Generator().manual_seed(1))
        )
        rounding.harden()
        ends.append((soft, wrapped.integers, wrapped.hard))
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    inside = (whole.integers > 0) & (whole.integers < 7)
    torch.testing.assert_close(ends[0][0][inside], whole.reference.detach()[inside], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_network_saves_loads_and_counts_its_grids(traced_of: Trace, symmetric: bool) -> None:
    traced = traced_of("embedded")

    def network(per_tensor: bool) -> QuantizedNetwork:
        bits = BitsConfig(weight=4, per_tensor_weights=per_tensor, symmetric_weights=symmetric)
        return QuantizedNetwork(traced, partition(traced), bits)

    net, x = network(True), torch.randn(2, 3, 32, 32)
    list(calibrate(net, torch.randn(4, 3, 32, 32), CalibrationConfig(bins=128, candidates=8), batch=4))
    layers = layers_of(net.model)
    assert all(layer.scale.numel() == 1 and layer.symmetric == symmetric for layer in layers)
    fresh = network(True)
    fresh.load_state({key: value.clone() for key, value in net.state().items()})
    assert torch.equal(fresh.model(x), net.model(x))
    channels = network(False)
    with pytest.raises(CheckpointError, match=r"scale"):
        channels.load_state(net.state())
    grids = [(layer.scale.numel(), layer.bits) for layer in layers_of(channels.model)]
    more = sum(
        4 * (count - 1) + -(-count * bits // 8) - 1 for count, bits in grids
    )  # float32, packed integers
    saved = quantized_bytes(channels)["quantized"] - quantized_bytes(net)["quantized"]
    assert saved == more > 0
