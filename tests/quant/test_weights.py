"""Grids of output channels: those of a grouped layer are those of its groups, each quantized alone."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.weights import Channels
from mrecg.reconstruct.soft_rounding import SoftRounding

F64 = torch.float64
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SIZES = {
    "one group": (4, 6, 1),
    "some": (6, 4, 2),
    "rows": (6, 2, 2),
    "depthwise": (4, 4, 4),
    "wide": (3, 6, 3),
}
"""Inputs, outputs and groups."""


def layer_of(dims: int, size: tuple[int, int, int], *, seed: int = 0) -> nn.Module:
    """A transposed convolution whose output channels differ in size by a factor of up to 1,000."""
    torch.manual_seed(seed)
    inputs, outputs, groups = size
    layer: nn.Module = TRANSPOSED[dims](inputs, outputs, 3, stride=2, padding=1, groups=groups).to(F64)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        gains = torch.logspace(-2, 1, outputs, dtype=F64)[torch.randperm(outputs)].reshape(groups, 1, -1)
        parts = weight.reshape(groups, inputs // groups, outputs // groups, -1) * gains.unsqueeze(-1)
        weight.copy_(parts.reshape(weight.shape))
    return layer


def alone(layer: Any) -> list[nn.Module]:
    """The groups of a transposed convolution, each as a layer of its own."""
    made = []
    for weight, bias in zip(layer.weight.chunk(layer.groups), layer.bias.chunk(layer.groups), strict=True):
        part = type(layer)(*weight.shape[:2], layer.kernel_size, layer.stride, layer.padding).to(F64)
        part.weight, part.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        made.append(part)
    return made


@pytest.mark.parametrize("dims", TRANSPOSED)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "symmetric"), [("lp", False), ("minmax", True)])
@torch.no_grad()
def test_a_group_has_the_grids_that_it_has_alone(dims: int, size: str, kind: Any, symmetric: bool) -> None:
    layer: Any = layer_of(dims, SIZES[size])
    whole = QuantizedLayer(layer, bits=4, symmetric=symmetric)
    parts = [QuantizedLayer(part, bits=4, symmetric=symmetric) for part in alone(layer)]
    for one in (whole, *parts):
        one.calibrate(kind=kind, norm=2.4, candidates=20)
    assert whole.scale.numel() == whole.zero_point.numel() == layer.out_channels
    for name in ("scale", "zero_point"):
        own = torch.cat([getattr(part, name).flatten() for part in parts])
        assert torch.equal(getattr(whole, name).flatten(), own), name
    assert torch.equal(whole.integers, torch.cat([part.integers for part in parts]))
    x = torch.randn(2, layer.in_channels, *[5] * dims, dtype=F64)
    each = [part(values) for part, values in zip(parts, x.chunk(layer.groups, 1), strict=True)]
    torch.testing.assert_close(whole(x), torch.cat(each, 1))
    # No channel is worse than the others: weak ones have a grid as fine as theirs.
    error = (whole(x) - layer(x)).square().mean((0, *range(2, 2 + dims))).sqrt()
    assert float((error / (layer(x).std((0, *range(2, 2 + dims))))).max()) < 0.2


@pytest.mark.parametrize("learn_scales", [False, True])
@pytest.mark.parametrize("size", ["some", "rows", "depthwise"])
def test_what_is_learned_of_a_group_is_what_is_learned_of_it_alone(size: str, learn_scales: bool) -> None:
    layer: Any = layer_of(2, SIZES[size])
    wholes = [QuantizedLayer(layer.requires_grad_(False), bits=3)]
    parts = [QuantizedLayer(part.requires_grad_(False), bits=3) for part in alone(layer)]
    probe = torch.randn(layer.weight.shape, dtype=F64)
    found: list[list[Tensor]] = []
    for layers in (wholes, parts):
        for one in layers:
            one.calibrate(kind="lp", norm=2.4, candidates=10)
            one.layer.to(memory_format=torch.contiguous_format)
        soft = SoftRounding(layers, learn_scales=learn_scales)
        with torch.no_grad():
            soft.alpha.add_(torch.randn(soft.alpha.shape, generator=torch.Generator().manual_seed(1)).to(F64))
        if soft.scale is not None:
            with torch.no_grad():
                soft.scale.mul_(1.1)
        soft.lend()
        lent = torch.cat([one.soft for one in layers if one.soft is not None])
        (lent * probe).square().sum().backward()  # type: ignore[no-untyped-call]
        soft.collect(weight=0.1, beta=3.0)
        grads = [] if soft.scale is None else [soft.scale.grad, soft.scale.detach()]
        soft.harden()
        hard = [torch.cat([getattr(one, name) for one in layers]) for name in ("integers", "hard")]
        scales = torch.cat([one.scale.flatten() for one in layers])
        found.append([lent.detach(), *(grad for grad in grads if grad is not None), *hard, scales])
    assert len(found[0]) == (6 if learn_scales else 4)
    for mine, own in zip(*found, strict=True):
        torch.testing.assert_close(mine, own, rtol=1e-12, atol=0)


@torch.no_grad()
def test_what_version_0_1_0_saved_is_read() -> None:
    """It had one grid for the same place in all groups."""
    layer: Any = layer_of(2, SIZES["some"])
    new, old = (QuantizedLayer(layer, bits=4) for _ in range(2))
    new.calibrate(kind="minmax", norm=2.4, candidates=2)
    state = {key: value.clone() for key, value in new.state_dict().items()}
    state["scale"], state["zero_point"] = torch.rand(1, 2, 1, 1, dtype=F64), torch.ones(1, 2, 1, 1, dtype=F64)
    old.load_state_dict(state)
    old.refresh()
    assert torch.equal(old.hard, (state["integers"] - state["zero_point"]) * state["scale"])
    assert old.state_dict()["scale"].shape == new.scale.shape == (2, 2, 1, 1)
    state["scale"] = torch.rand(1, 3, 1, 1)
    with pytest.raises(RuntimeError, match="size mismatch for scale"):
        old.load_state_dict(state)


def test_a_whole_weight_is_one_channel() -> None:
    for layer in (layer_of(2, SIZES["some"]), nn.Conv2d(2, 3, 1), nn.Linear(2, 1)):
        channels = Channels.of(layer, per_tensor=True)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        assert channels.values(weight.detach()).flatten(1).shape == (1, weight.numel())
        assert channels.sum(weight.detach()).shape == channels.shape == (1,) * weight.dim()
