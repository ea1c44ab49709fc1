import pytest
import torch
from torch import Tensor, nn

from mrecg.quant.affine import UNBOUNDED, FakeQuant, fake_quantize
from mrecg.quant.drop import Draw, Drop
from mrecg.quant.kernels.switch import fused
from mrecg.quant.learned_zero_point import fake_quantize_learning_zero
from mrecg.quant.modules import ActivationQuantizer, zero_points_of

F64 = torch.float64
Bounds = tuple[float, float]
HARDTANH = (-2.0, 3.0)


def rounded(x: Tensor) -> Tensor:
    """Round, with the gradient of x itself; exactly whole, as x + (round(x) - x) is not."""
    return torch.round(x).detach() + (x - x.detach())


def straight_through(
    x: Tensor, scale: Tensor, zero: Tensor, top: int, bounds: Bounds, mask: Tensor | None
) -> Tensor:
    """The reference: autograd's own primitives, both roundings passed straight through."""
    x = nn.functional.hardtanh(x, *bounds) if bounds != UNBOUNDED else x
    level = rounded(x / scale) + rounded(zero)
    clamped = torch.where((level >= 0) & (level <= top), level, level.detach().clamp(0, top))
    quantized = (clamped - rounded(zero)) * scale
    return quantized if mask is None else torch.where(mask == 1, quantized, x)


@pytest.mark.parametrize("zero", [0.0, 4.6, 7.5, 15.0, -1.3, 16.2])
@pytest.mark.parametrize("bounds", [UNBOUNDED, HARDTANH])
@pytest.mark.parametrize("threshold", [None, 0, 100, 256])
@pytest.mark.parametrize("layout", ["vector", "images", "channels_last"])
def test_gradients_equal_an_independent_straight_through(
    zero: float, bounds: Bounds, threshold: int | None, layout: str
) -> None:
    x = 3 * torch.randn(4, 6, 5, 5, dtype=F64)
    x = {"vector": x.flatten(), "images": x, "channels_last": x.to(memory_format=torch.channels_last)}[layout]
    draw = None if threshold is None else Draw(2**63 + 11, threshold)
    upstream, factor, results = torch.randn_like(x), 0.125, []
    for ours in (True, False):
        leaf, scale, z = (
            t.clone().requires_grad_() for t in (x, torch.tensor([0.3]).to(F64), torch.tensor([zero]).to(F64))
        )
        if ours:
            out = fake_quantize_learning_zero(leaf, scale, z, FakeQuant(0.0, 15, factor, bounds, draw))
        else:
            out = straight_through(leaf, scale, z, 15, bounds, draw.mask(x) if draw else None)
        torch.autograd.backward(out, upstream)
        assert leaf.grad is not None and scale.grad is not None and z.grad is not None
        results.append((out.detach(), leaf.grad, scale.grad, z.grad))
    (out, grad_x, grad_scale, grad_zero), reference = results
    torch.testing.assert_close(out, reference[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad_x, reference[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(grad_scale, factor * reference[2], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(grad_zero, factor * reference[3], rtol=1e-9, atol=1e-9)
    assert (grad_zero == 0).all() == (threshold == 0)  # some are clipped, unless none is quantized


@pytest.mark.parametrize("draw", [None, Draw(7, 128)])
def test_where_all_is_clipped_the_gradients_are_those_of_finite_differences(draw: Draw | None) -> None:
    # There the result is smooth in x and the scale, without any straight-through.
    x = torch.cat([torch.linspace(9, 20, 8, dtype=F64), torch.linspace(-20, -9, 8, dtype=F64)])
    zero, scale = torch.tensor([3.4], dtype=F64), torch.tensor([0.5], dtype=F64)

    def run(values: Tensor, step: Tensor) -> Tensor:
        return fake_quantize_learning_zero(values, step, zero, FakeQuant(0.0, 7, 1.0, draw=draw))

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), scale.requires_grad_()))


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_it_computes_what_is_computed_with_the_number(on: bool, dtype: torch.dtype) -> None:
    x, scale = 3 * torch.randn(2, 5, 7, 9, dtype=dtype), torch.tensor([0.31], dtype=dtype)
    results = []
    for learned in (True, False):
        leaf, step = x.clone().requires_grad_(), scale.clone().requires_grad_()
        settings = FakeQuant(5.0, 15, 0.5, HARDTANH, Draw(3, 90))
        with fused(on):
            if learned:
                out = fake_quantize_learning_zero(leaf, step, torch.tensor([5.2], dtype=dtype), settings)
            else:
                out = fake_quantize(leaf, step, settings)
        torch.autograd.backward(out, torch.ones_like(out))
        assert leaf.grad is not None and step.grad is not None
        results.append((out.detach(), leaf.grad, step.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-6, atol=1e-9)


def signed(bits: int = 4, *, scale: float = 0.2, zero: float = 2.0) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(bits)
    quantizer.scale.data.fill_(scale)
    quantizer.zero_point.fill_(zero)
    return quantizer


def learn(quantizer: ActivationQuantizer, x: Tensor, steps: int = 60) -> None:
    quantizer.zero_point.requires_grad_()
    quantizer.scale.requires_grad_()
    # Fused, as the reconstruction's is: it counts no version of what it changes.
    groups = [{"params": [quantizer.zero_point], "lr": 0.2}, {"params": [quantizer.scale], "lr": 1e-3}]
    optimizer = torch.optim.Adam(groups, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()


def test_the_zero_point_is_learned_and_settles_on_a_whole_number() -> None:
    quantizer, x = signed(), torch.rand(4096) * 3 - 2  # -2 to 1: 10 of 15 steps of 0.2 below zero
    keys = set(quantizer.state_dict())
    before = float((quantizer(x) - x).square().mean())
    learn(quantizer, x)
    assert not float(quantizer.zero_point.detach()).is_integer()
    assert set(quantizer.state_dict()) == keys == {"scale", "zero_point"}
    during = quantizer(x).detach()
    held = quantizer.zero_point
    quantizer.settle_zero_point()
    assert quantizer.zero_point is held and held.grad is None and not held.requires_grad
    assert float(held).is_integer()
    assert float(held * quantizer.scale.detach()) == pytest.approx(2, abs=float(quantizer.scale.detach()))
    assert torch.equal(quantizer.state_dict()["zero_point"], held)
    quantizer.scale.requires_grad_(False)
    after = quantizer(x)
    assert torch.equal(after, during)  # on the fast path, with the learned number
    assert float((after - x).square().mean()) < 0.05 * before


def test_nothing_remembered_outlives_a_fused_step() -> None:
    quantizer, x = signed(), torch.rand(512) * 3 - 2
    quantizer(x)  # remembers 2
    learn(quantizer, x)
    with torch.no_grad():
        quantizer.zero_point.requires_grad_(False)  # as somebody who forgets to settle
        zero, scale = quantizer.zero_point.clone(), quantizer.scale.detach()
        expected = (torch.round(x / scale)).clamp(-zero, 15 - zero) * scale
        torch.testing.assert_close(quantizer(x), expected)


@pytest.mark.parametrize(
    ("value", "settled"), [(2.5, 2.0), (3.5, 4.0), (-2.2, 0.0), (99.0, 15.0), (6.0, 6.0)]
)
def test_settling_rounds_half_to_even_and_stays_on_the_grid(value: float, settled: float) -> None:
    quantizer, x = signed(zero=1.0), torch.linspace(-5, 5, 201)
    quantizer(x)
    quantizer.zero_point.fill_(value).requires_grad_()
    quantizer.settle_zero_point()
    assert quantizer.zero_point.tolist() == [settled]
    expected = (torch.round(x / quantizer.scale) + settled).clamp(0, 15).sub(settled) * quantizer.scale
    assert torch.equal(quantizer(x), expected.detach())


@pytest.mark.parametrize("scale_too", [True, False])
def test_both_get_the_factor_and_the_drop_of_the_quantizer(scale_too: bool) -> None:
    quantizer, x = signed(zero=3.3), 2 * torch.randn(8, 50)
    quantizer.zero_point.requires_grad_()
    quantizer.scale.requires_grad_(scale_too)
    quantizer.mode, quantizer.drop = "drop", Drop(0.5, 4)
    quantizer(x).sum().backward()
    mask = Drop(0.5, 4).draw().mask(x)
    level = torch.round(x / 0.2) + 3
    clipped = mask * ((level < 0) | (level > 15))
    factor = (x.numel() * 15) ** -0.5
    assert quantizer.zero_point.grad is not None and 0 < clipped.sum() < mask.sum()
    torch.testing.assert_close(quantizer.zero_point.grad, (-0.2 * clipped.sum() * factor).reshape(1))
    slope = mask * torch.where(clipped == 1, level.clamp(0, 15) - 3, torch.round(x / 0.2) - x / 0.2)
    if scale_too:
        assert quantizer.scale.grad is not None
        torch.testing.assert_close(
            quantizer.scale.grad, (slope.sum() * factor).reshape(1), rtol=1e-4, atol=1e-5
        )
    else:
        assert quantizer.scale.grad is None


def test_only_signed_quantizers_have_one_to_learn() -> None:
    relu, relu6 = (ActivationQuantizer(4, bounds=(0.0, top)) for top in (float("inf"), 6.0))
    hardtanh, linear = ActivationQuantizer(4, bounds=(-1.0, 1.0)), ActivationQuantizer(4)
    net = nn.Sequential(relu, nn.Sequential(hardtanh, relu6), linear)
    assert zero_points_of(net) == [hardtanh, linear]
    assert not relu.signed and linear.signed
