import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mrecg.quant.affine import (
    FakeQuant,
    dequantize,
    fake_quantize,
    from_memory_order,
    in_memory_order,
    qmax,
    quantize,
)
from mrecg.quant.drop import Draw
from mrecg.quant.kernels.switch import fused

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
    for on in (True, False):
        with fused(on):
            assert fake_quantize(x, torch.tensor(1.0), FakeQuant(2.0, 7)).tolist() == [-2, 0, 0, 2, 2]


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
@pytest.mark.parametrize("layout", ["vector", "images", "channels_last"])
def test_gradients_equal_an_independent_straight_through(zero: int, layout: str) -> None:
    x = 8 * torch.randn(4, 6, 5, 5, dtype=F64)
    x = {"vector": x.flatten(), "images": x, "channels_last": x.to(memory_format=torch.channels_last)}[layout]
    upstream, factor = torch.randn_like(x), 0.125
    results = []
    for ours in (True, False):
        leaf, scale = x.clone().requires_grad_(), torch.tensor([0.7], dtype=F64, requires_grad=True)
        settings = FakeQuant(float(zero), 15, factor)
        out = fake_quantize(leaf, scale, settings) if ours else straight_through(leaf, scale, zero, 15)
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
    torch.autograd.backward(fake_quantize(x, scale, FakeQuant(3.0, 7)), upstream)
    assert (
        torch.equal(x, before)
        and scale.item() == pytest.approx(0.3)
        and torch.equal(upstream, upstream_before)
    )


@pytest.mark.parametrize("bounds", [(0.0, float("inf")), (0.0, 1.5), (-1.0, 1.0)])
def test_bounds_are_the_activation_function_before(bounds: tuple[float, float]) -> None:
    x, upstream = torch.randn(500, dtype=F64), torch.randn(500, dtype=F64)
    x[:3] = torch.tensor([*bounds, 0.7]).nan_to_num(posinf=3.0)
    results = []
    for inside in (True, False):
        leaf, scale = x.clone().requires_grad_(), torch.tensor([0.2], dtype=F64, requires_grad=True)
        settings = FakeQuant(2.0, 7, 0.5)
        if inside:
            out = fake_quantize(leaf, scale, settings._replace(bounds=bounds))
        else:
            out = fake_quantize(torch.nn.functional.hardtanh(leaf, *bounds), scale, settings)
        torch.autograd.backward(out, upstream)
        assert leaf.grad is not None and scale.grad is not None
        results.append((out.detach(), leaf.grad, scale.grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


LAYOUTS = {
    "vector": lambda x: x.flatten(),
    "images": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "strided": lambda x: x[:, ::2, 1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threshold", [0, 64, 128, 255, 256, None])
@pytest.mark.parametrize("bounds", [(0.0, 6.0), (float("-inf"), float("inf"))])
def test_the_fused_kernel_is_the_plain_operations(
    layout: str, threshold: int | None, bounds: tuple[float, float]
) -> None:
    x = LAYOUTS[layout](4 * torch.randn(5, 8, 17, 19))
    draw = None if threshold is None else Draw(123456789, threshold)
    settings = FakeQuant(5.0, 15, 0.01, bounds, draw)
    upstream, results = torch.randn_like(x), []
    for on in (True, False):
        leaf, scale = x.clone().requires_grad_(), torch.tensor([0.31], requires_grad=True)
        with fused(on):
            out = fake_quantize(leaf, scale, settings)
        torch.autograd.backward(out, upstream)
        assert leaf.grad is not None and scale.grad is not None
        results.append((out.detach(), leaf.grad, scale.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("on", [True, False])
def test_what_is_not_a_number_stays_so(on: bool) -> None:
    x = torch.tensor([float("nan"), 1.0], requires_grad=True)
    with fused(on):
        out = fake_quantize(x, torch.tensor([0.5]), FakeQuant(0.0, 15, 1.0, (0.0, 6.0)))
    assert out[0].isnan() and out[1] == 1.0


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5), (2, 3, 1, 1), (2, 3, 2, 2, 2)])
def test_memory_order_can_be_undone(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert torch.equal(from_memory_order(in_memory_order(x), x), x)


def test_memory_order_is_the_same_for_both_layouts() -> None:
    x = torch.randn(2, 3, 4, 5)
    flat = in_memory_order(x)
    assert torch.equal(flat, in_memory_order(x.to(memory_format=torch.channels_last)))
    assert torch.equal(flat.sort().values, x.flatten().sort().values)
