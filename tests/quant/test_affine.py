import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mrecg.quant.affine import dequantize, fake_quantize, in_memory_order, qmax, quantize

F64 = torch.float64
bits_of = st.integers(1, 8)
scale_of = st.floats(1e-3, 10).map(lambda s: torch.tensor(s, dtype=F64))
values_of = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=20).map(
    lambda v: torch.tensor(v, dtype=F64)
)


@st.composite
def grids(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    top = qmax(draw(bits_of))
    return draw(scale_of), torch.tensor(draw(st.integers(0, top)), dtype=F64), top


@given(values_of, grids())
def test_integers_are_whole_and_on_the_grid(x: Tensor, grid: tuple[Tensor, Tensor, int]) -> None:
    q = quantize(x, *grid)
    assert torch.equal(q, q.round())
    assert q.min() >= 0 and q.max() <= grid[2]


@given(values_of, grids())
def test_quantizing_twice_changes_nothing(x: Tensor, grid: tuple[Tensor, Tensor, int]) -> None:
    scale, zero, _ = grid
    q = quantize(x, *grid)
    assert torch.equal(quantize(dequantize(q, scale, zero), *grid), q)


@given(values_of, grids())
def test_error_is_half_a_step_inside_the_range(x: Tensor, grid: tuple[Tensor, Tensor, int]) -> None:
    scale, zero, top = grid
    inside = x.clamp(float(-zero * scale), float((top - zero) * scale))
    error = (dequantize(quantize(inside, *grid), scale, zero) - inside).abs()
    assert (error <= scale * (0.5 + 1e-9)).all()


@given(values_of, grids())
def test_values_outside_are_clamped_to_the_ends(x: Tensor, grid: tuple[Tensor, Tensor, int]) -> None:
    scale, _, top = grid
    far = 1000 + 256 * scale
    assert torch.equal(quantize(x.abs() + far, *grid), torch.full_like(x, top))
    assert torch.equal(quantize(-x.abs() - far, *grid), torch.zeros_like(x))


@given(values_of, grids())
def test_order_is_kept(x: Tensor, grid: tuple[Tensor, Tensor, int]) -> None:
    assert (quantize(x.sort().values, *grid).diff() >= 0).all()


@given(grids())
def test_zero_stays_exactly_zero(grid: tuple[Tensor, Tensor, int]) -> None:
    scale, zero, _ = grid
    assert dequantize(quantize(torch.zeros(1, dtype=F64), *grid), scale, zero).item() == 0.0


def test_ties_go_to_even() -> None:
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantize(x, torch.tensor(1.0), torch.tensor(2.0), 7).tolist() == [0, 2, 2, 4, 4]
    assert fake_quantize(x, torch.tensor(1.0), torch.tensor(2.0), 7).tolist() == [-2, 0, 0, 2, 2]


def straight_through(x: Tensor, scale: Tensor, zero: float, top: int) -> Tensor:
    """The reference: autograd's own primitives, the rounding passed straight through."""
    ratio = x / scale
    rounded = torch.round(ratio).detach() + (
        ratio - ratio.detach()
    )  # exactly whole, as x + (round(x) - x) is not
    level = rounded + zero
    # The ends are inside, as they were for torch.clamp when the research codes were written (2.15: outside).
    clamped = torch.where((level >= 0) & (level <= top), level, level.detach().clamp(0, top))
    return (clamped - zero) * scale


@pytest.mark.parametrize("zero", [0, 5, 15])
@pytest.mark.parametrize("as_tensor", [True, False])
@pytest.mark.parametrize("layout", ["vector", "images", "channels_last"])
def test_gradients_equal_an_independent_straight_through(zero: int, as_tensor: bool, layout: str) -> None:
    x = 8 * torch.randn(4, 6, 5, 5, dtype=F64)
    x = {"vector": x.flatten(), "images": x, "channels_last": x.to(memory_format=torch.channels_last)}[layout]
    upstream, factor = torch.randn_like(x), 0.125
    results = []
    for ours in (True, False):
        leaf, scale = x.clone().requires_grad_(), torch.tensor([0.7], dtype=F64, requires_grad=True)
        point = torch.tensor([float(zero)], dtype=F64) if as_tensor else float(zero)
        out = (
            fake_quantize(leaf, scale, point, 15, factor) if ours else straight_through(leaf, scale, zero, 15)
        )
        torch.autograd.backward(out, upstream)
        assert leaf.grad is not None and scale.grad is not None
        results.append((out.detach(), leaf.grad, scale.grad))
    (out, grad_x, grad_scale), (out_ref, grad_x_ref, grad_scale_ref) = results
    torch.testing.assert_close(out, out_ref, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad_x, grad_x_ref, rtol=1e-6, atol=0)
    torch.testing.assert_close(grad_scale, factor * grad_scale_ref, rtol=1e-6, atol=0)
    assert 0 < (grad_x == 0).sum() < grad_x.numel()  # some are clipped, some are not


def test_input_and_scale_are_not_changed() -> None:
    x, scale = torch.randn(9, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    before = x.detach().clone()
    upstream = torch.randn(9)
    upstream_before = upstream.clone()
    torch.autograd.backward(fake_quantize(x, scale, 3.0, 7), upstream)
    assert (
        torch.equal(x, before)
        and scale.item() == pytest.approx(0.3)
        and torch.equal(upstream, upstream_before)
    )


def test_memory_order_is_the_same_for_both_layouts() -> None:
    x = torch.randn(2, 3, 4, 5)
    flat = in_memory_order(x)
    assert torch.equal(flat, in_memory_order(x.to(memory_format=torch.channels_last)))
    assert torch.equal(flat.sort().values, x.flatten().sort().values)
