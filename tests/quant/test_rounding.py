import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrecg.quant.affine import dequantize, quantize
from mrecg.quant.rounding import (
    beta_at,
    fraction_slope,
    initial_alpha,
    regulariser,
    regulariser_slope,
    soft_fraction,
    soft_weight,
)

F64 = torch.float64


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20))
def test_initial_alpha_inverts_soft_fraction(fractions: list[float]) -> None:
    fraction = torch.tensor(fractions, dtype=F64)
    torch.testing.assert_close(soft_fraction(initial_alpha(fraction)), fraction, rtol=1e-9, atol=1e-12)


def test_soft_fraction_is_the_published_one() -> None:
    alpha = torch.linspace(-6, 6, 41, dtype=F64)
    expected = [min(max(1.2 / (1 + math.exp(-a)) - 0.1, 0.0), 1.0) for a in alpha.tolist()]
    torch.testing.assert_close(soft_fraction(alpha), torch.tensor(expected, dtype=F64))


def test_soft_weight_starts_at_the_weight_and_at_the_clipped_weight_outside() -> None:
    scale, zero, top = torch.tensor([[0.3], [0.1]], dtype=F64), torch.tensor([[3.0], [8.0]], dtype=F64), 15
    weight = 2 * torch.randn(2, 50, dtype=F64)
    ratio = weight / scale
    base, h = ratio.floor() + zero, soft_fraction(initial_alpha(ratio - ratio.floor()))
    low, high = -zero * scale, (top - zero) * scale
    clipped = torch.maximum(torch.minimum(weight, high), low)
    assert (clipped != weight).any() and (clipped == weight).any()
    torch.testing.assert_close(soft_weight(base, h, scale, zero, top), clipped, rtol=1e-9, atol=1e-12)


def test_alpha_from_zero_rounds_up_and_the_start_is_the_nearest() -> None:
    scale, zero = torch.tensor(0.25, dtype=F64), torch.tensor(4.0, dtype=F64)
    weight = torch.randn(200, dtype=F64) / 2
    ratio = weight / scale
    alpha = initial_alpha(ratio - ratio.floor())
    hard = soft_weight(ratio.floor() + zero, (alpha >= 0).to(F64), scale, zero, 15)
    torch.testing.assert_close(hard, dequantize(quantize(weight, scale, zero, 15), scale, zero))
    assert (initial_alpha(torch.tensor([0.5], dtype=F64)).abs() < 1e-12).all()


@pytest.mark.parametrize("beta", [2.0, 7.5, 20.0])
def test_regulariser_is_the_published_sum(beta: float) -> None:
    h = torch.rand(40, dtype=F64)
    expected = sum(1 - abs(2 * value - 1) ** beta for value in h.tolist())
    assert regulariser(h, beta).item() == pytest.approx(expected)
    assert regulariser(torch.tensor([0.0, 1.0]), beta).item() == 0


@pytest.mark.parametrize("beta", [2.0, 7.5, 20.0])
def test_slopes_are_those_of_autograd(beta: float) -> None:
    alpha = torch.linspace(-6, 6, 41, dtype=F64).requires_grad_()
    (slope,) = torch.autograd.grad(soft_fraction(alpha).sum(), alpha)
    torch.testing.assert_close(fraction_slope(alpha), slope, rtol=1e-9, atol=0)
    assert (slope == 0).any() and (slope > 0).any()
    h = torch.linspace(0, 1, 21, dtype=F64).requires_grad_()
    (slope,) = torch.autograd.grad(regulariser(h, beta), h)
    torch.testing.assert_close(regulariser_slope(h, beta), slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.33])
def test_linear_decay_is_that_of_the_research_codes(warmup: float) -> None:
    steps, start, end = 100, 20.0, 2.0
    for t in range(steps):
        ours = beta_at(t, steps, warmup=warmup, start=start, end=end, decay="linear")
        if t < warmup * steps:
            assert ours is None
        else:
            rel = (t - warmup * steps) / (steps - warmup * steps)
            assert ours == pytest.approx(end + (start - end) * max(0.0, 1 - rel))


def test_cosine_decay() -> None:
    found = [beta_at(t, 50, warmup=0.2, start=20, end=2, decay="cosine") for t in range(10, 50)]
    expected = [2 + 0.5 * 18 * (1 + math.cos((t - 10) / 40 * math.pi)) for t in range(10, 50)]
    assert found == pytest.approx(expected)
    assert found[0] == 20
