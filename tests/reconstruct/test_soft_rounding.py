"""`SoftRounding` against one layer at a time, written again from the paper's equations."""

import pytest
import torch
from torch import Tensor, nn

from mrecg.quant.kernels import jit
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.rounding import soft_fraction
from mrecg.reconstruct.soft_rounding import SoftRounding

F64 = torch.float64


def layers() -> list[QuantizedLayer]:
    made = [
        QuantizedLayer(nn.Conv2d(3, 4, (3, 2)).to(F64), bits=2),
        QuantizedLayer(nn.Conv2d(6, 6, 3, groups=6).to(F64), bits=4),
        QuantizedLayer(nn.Linear(5, 3).to(F64), bits=8),
        QuantizedLayer(nn.ConvTranspose2d(2, 3, 2).to(F64), bits=3),
        QuantizedLayer(nn.Conv1d(2, 3, 2).to(F64), bits=3, symmetric=True),
        QuantizedLayer(nn.ConvTranspose2d(4, 6, 2, groups=2).to(F64), bits=3),
    ]
    for layer in made:
        layer.calibrate(kind="lp", norm=2.4, candidates=10)
        layer.layer.to(memory_format=torch.channels_last)
        layer.layer.requires_grad_(False)
    return made


def rows(soft: SoftRounding, values: Tensor, made: list[QuantizedLayer]) -> list[Tensor]:
    """Split a flat vector into the layers' shapes, images channels-last."""
    out, begin = [], 0
    for layer in made:
        shape = layer.reference.shape
        part = values[begin : begin + shape.numel()]
        begin += shape.numel()
        if len(shape) == 4:
            part = part.reshape(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
        out.append(part.reshape(shape))
    assert begin == len(values)
    return out


def reference(layer: QuantizedLayer, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """h and the soft weight of one layer."""
    h = torch.clip(1.2 / (1 + torch.exp(-alpha)) - 0.1, 0, 1)
    s, z = layer.grid
    return h, s * (torch.clip(torch.floor(layer.reference / s) + z + h, 0, 2**layer.bits - 1) - z)


def test_the_soft_weight_starts_at_the_weight() -> None:
    made = layers()
    soft = SoftRounding(made)
    assert soft.alpha.dtype == F64 and soft.alpha.numel() == sum(layer.reference.numel() for layer in made)
    soft.lend()
    for layer in made:
        assert layer.soft is not None
        scale, zero_point = layer.grid
        low, high = -zero_point * scale, (layer.top - zero_point) * scale
        torch.testing.assert_close(layer.soft, torch.clamp(layer.reference, low, high), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [0.55, 0.8, 1.0])
def test_it_begins_and_ends_at_integers_that_were_found(share: float) -> None:
    made = layers()
    generator = torch.Generator().manual_seed(2)
    for layer in made:
        # Off by up to two steps from where they are found, and beyond the ends of the grid.
        noise = torch.rand(layer.reference.shape, generator=generator, dtype=F64) * 4 - 2
        layer.target = layer.hard + noise * layer.grid[0]
    found = [layer.integers.clone() for layer in made]
    soft = SoftRounding(made, share=share)
    soft.lend()
    for layer in made:
        assert layer.soft is not None
        off = (layer.soft - layer.hard) / layer.grid[0]
        assert off.abs().max() < 0.5  # so that hardening goes back
        towards = (layer.target - layer.hard) / layer.grid[0]
        inside = (layer.integers > 0) & (layer.integers < layer.top)
        expected = ((1 - share) * towards.abs().clamp_max(1)).clamp_min(0.05)  # towards what it stands for
        torch.testing.assert_close((off * towards.sign())[inside], expected[inside], rtol=1e-6, atol=1e-9)
    soft.harden()
    for layer, integers in zip(made, found, strict=True):
        assert torch.equal(layer.integers, integers) and layer.target is None


@pytest.mark.parametrize("learn_scales", [True, False])
def test_integers_stay_where_the_rounding_is_not_learned(learn_scales: bool) -> None:
    made = layers()
    for layer in made:
        moved = (layer.integers + 1).clamp(max=layer.top)  # they need not be the nearest
        layer.harden(moved)
    found = [layer.integers.clone() for layer in made]
    begun = [layer.scale.clone() for layer in made]
    soft = SoftRounding(made, learn_scales=learn_scales, relative=True, learn_rounding=False)
    assert not soft.alpha.numel()
    if soft.scale is not None:
        with torch.no_grad():
            soft.scale.normal_(std=0.1)
    soft.lend()
    factors = soft.scale.detach().clone().requires_grad_() if soft.scale is not None else None
    sizes = [layer.scale.numel() for layer in made]
    parts = factors.split(sizes) if factors is not None else [torch.zeros(size, dtype=F64) for size in sizes]
    probes = [torch.randn_like(layer.reference) for layer in made]
    given = expected = torch.zeros((), dtype=F64)
    for layer, integers, scale, part, probe in zip(made, found, begun, parts, probes, strict=True):
        steps = layer.channels.spread(scale * part.view(scale.shape).exp())
        weight = steps * (integers.to(F64) - layer.channels.spread(layer.zero_point))
        assert layer.soft is not None
        torch.testing.assert_close(layer.soft.detach(), weight.detach(), rtol=1e-12, atol=1e-12)
        given, expected = (
            given + (layer.soft * probe).square().sum(),
            expected + (weight * probe).square().sum(),
        )
    given.backward()  # type: ignore[no-untyped-call]
    assert soft.collect(weight=0.3, beta=2.0) is None
    if factors is not None and soft.scale is not None:
        expected.backward()  # type: ignore[no-untyped-call]
        assert soft.scale.grad is not None and factors.grad is not None
        torch.testing.assert_close(soft.scale.grad, factors.grad, rtol=1e-10, atol=1e-12)
    soft.harden()
    for layer, integers, scale, part in zip(made, found, begun, parts, strict=True):
        assert torch.equal(layer.integers, integers)
        torch.testing.assert_close(layer.scale, scale * part.detach().view(scale.shape).exp())
        assert layer.soft is None


@pytest.mark.parametrize("beta", [2.0, 7.5])
def test_weights_regulariser_and_gradient_are_those_of_single_layers(beta: float) -> None:
    made = layers()
    soft = SoftRounding(made)
    with torch.no_grad():
        soft.alpha.add_(torch.randn_like(soft.alpha))
    probes = [torch.randn_like(layer.reference) for layer in made]

    soft.lend()
    total = torch.zeros((), dtype=F64)
    for layer, probe in zip(made, probes, strict=True):
        assert layer.soft is not None
        total = total + (layer.soft * probe).square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    penalty = soft.collect(weight=0.3, beta=beta)
    assert penalty is not None
    total = total.detach() + penalty

    alphas = [part.detach().clone().requires_grad_() for part in rows(soft, soft.alpha, made)]
    expected = torch.zeros((), dtype=F64)
    assert soft.alpha.grad is not None
    for layer, alpha, probe, own in zip(
        made, alphas, probes, rows(soft, soft_fraction(soft.alpha.detach()), made), strict=True
    ):
        fraction, weight = reference(layer, alpha)
        torch.testing.assert_close(own, fraction, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(layer.soft, weight, rtol=1e-6, atol=1e-12)
        expected = (
            expected + (weight * probe).square().sum() + 0.3 * (1 - (2 * fraction - 1).abs() ** beta).sum()
        )
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0.0)
    expected.backward()
    for alpha, grad in zip(alphas, rows(soft, soft.alpha.grad, made), strict=True):
        torch.testing.assert_close(grad, alpha.grad, rtol=1e-6, atol=1e-9)


def test_hardening_rounds_up_where_alpha_is_not_negative() -> None:
    made = layers()
    soft = SoftRounding(made)
    with torch.no_grad():
        soft.alpha.copy_(torch.randn_like(soft.alpha))
        soft.alpha[::7] = 0.0
    soft.lend()
    soft.harden()
    for layer, alpha in zip(made, rows(soft, soft.alpha.detach(), made), strict=True):
        scale, zero_point = layer.grid
        up = torch.floor(layer.reference / scale) + zero_point + (alpha >= 0)
        integers = up.clamp(0, 2**layer.bits - 1)
        assert layer.soft is None
        assert torch.equal(layer.integers.to(F64), integers)
        torch.testing.assert_close(layer.hard, (integers - zero_point) * scale)


def test_nothing_of_the_network_is_a_parameter_of_the_rounding() -> None:
    made = layers()
    soft = SoftRounding(made)
    assert [name for name, _ in soft.named_parameters()] == ["alpha"]
    assert list(soft.modules()) == [soft]


def test_soft_weights_have_the_memory_order_of_the_layer() -> None:
    made = layers()
    soft = SoftRounding(made)
    soft.lend()
    for layer in (layer for layer in made if layer.reference.dim() == 4):
        assert layer.soft is not None
        assert layer.soft.is_contiguous(memory_format=torch.channels_last)
        assert layer.soft.stride() == layer.reference.stride() or 1 in layer.reference.shape


@pytest.mark.parametrize("beta", [None, 2.0, 20.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_fused_kernels_are_the_plain_operations(
    beta: float | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(jit.divide, "__kwdefaults__", {"grain": 1})
    layer = QuantizedLayer(nn.Conv2d(16, 64, 3).to(memory_format=torch.channels_last), bits=2)
    layer.calibrate(kind="lp", norm=2.4, candidates=10)
    results = []
    noise, probe = torch.randn(layer.reference.numel()), torch.randn_like(layer.reference)
    for on in (True, False):
        soft = SoftRounding([layer])
        with torch.no_grad():
            soft.alpha.add_(2 * noise)
        with fused(on):
            soft.lend()
            assert layer.soft is not None
            torch.autograd.backward((layer.soft * probe).square().sum())
            penalty = soft.collect(weight=0.3, beta=beta)
        assert (penalty is None) == (beta is None) and soft.alpha.grad is not None
        results.append(
            (layer.soft.detach(), soft.alpha.grad, torch.tensor(0.0) if penalty is None else penalty)
        )
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=1e-6)
    assert (results[0][1] == 0).any() and (results[0][1] != 0).any()


@pytest.mark.parametrize("on", [True, False])
def test_a_layer_that_the_loss_does_not_depend_on_stays(on: bool) -> None:
    made = [QuantizedLayer(nn.Linear(5, 3), bits=2) for _ in range(2)]
    for layer in made:
        layer.calibrate(kind="minmax", norm=2.4, candidates=2)
    with fused(on):
        soft = SoftRounding(made)
        soft.lend()
        assert made[0].soft is not None
        torch.autograd.backward(made[0].soft.square().sum())
        soft.collect(weight=0.0, beta=None)
    assert soft.alpha.grad is not None
    assert (soft.alpha.grad[:15] != 0).any() and (soft.alpha.grad[15:] == 0).all()
