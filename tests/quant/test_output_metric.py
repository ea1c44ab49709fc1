"""Grids and integers by the error of the output: against brute force, and what must never happen."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from mrecg.quant.output_descent import descend, polish
from mrecg.quant.output_metric import Rows, Solution, damped, nearest, output_error, refit
from mrecg.quant.output_search import search, solve
from mrecg.quant.ranges import grid


def rows(
    groups: int, outputs: int, inputs: int, *, top: int = 15, dtype: torch.dtype = torch.float32
) -> Rows:
    """Make weights, and moments of inputs that hang together."""
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(groups, 200, inputs, generator=generator, dtype=torch.float64)
    seen = (seen @ torch.randn(groups, inputs, inputs, generator=generator, dtype=torch.float64)).relu()
    weights = torch.randn(groups, outputs, inputs, generator=generator, dtype=torch.float64)
    moments = damped(seen.transpose(1, 2) @ seen / 200)
    return Rows(
        weights.to(dtype), moments.to(dtype), torch.arange(groups * outputs).view(groups, outputs), top
    )


def full_range(made: Rows) -> Solution:
    low, high = made.weights.amin(2).flatten().clamp(max=0), made.weights.amax(2).flatten().clamp(min=0)
    scale, zero = grid(low, high, made.top)
    return Solution(scale, zero, nearest(made, scale, zero))


def brute_force(made: Rows, found: Solution) -> Tensor:
    """Least error of each channel over all ways to round its nine weights up or down."""
    scale, zero = made.spread(found.scale), made.spread(found.zero_point)
    floor = (made.weights / scale + zero).floor()
    least = torch.full(made.grids.shape, float("inf"), dtype=made.weights.dtype)
    for ups in product((0.0, 1.0), repeat=9):
        integers = (floor + torch.tensor(ups, dtype=floor.dtype)).clamp(0, made.top)
        least = torch.minimum(least, output_error(made, Solution(found.scale, found.zero_point, integers)))
    return least


@pytest.mark.parametrize("top", [3, 7, 15])
def test_no_way_to_round_nine_weights_up_or_down_is_much_better(top: int) -> None:
    made = rows(40, 1, 9, top=top)
    begin = full_range(made)
    reached = output_error(made, polish(made, descend(made, begin, sweeps=6))).mean()
    assert reached <= 1.02 * brute_force(made, begin).mean()
    assert reached < 0.7 * output_error(made, begin).mean()  # nearest is far from it


@pytest.mark.parametrize("shape", [(12, 1, 9), (1, 7, 150), (2, 5, 64), (3, 4, 1)], ids=str)
def test_neither_descent_nor_refit_makes_any_channel_worse(shape: tuple[int, int, int]) -> None:
    made = rows(*shape, top=3)
    found = full_range(made)
    steps = (partial(descend, sweeps=1), partial(polish, moves=3), refit)
    for _ in range(4):
        for step in steps:
            before, found = output_error(made, found), step(made, found)
            assert (output_error(made, found) <= before * (1 + 1e-4) + 1e-10).all()
            assert ((found.integers >= 0) & (found.integers <= 3)).all()
            assert torch.equal(found.integers, found.integers.round()) and (found.scale > 0).all()


def test_a_move_is_the_best_one_for_each_integer_alone() -> None:
    made = rows(3, 2, 70, dtype=torch.float64)  # more inputs than a block
    found = descend(made, full_range(made), sweeps=100)
    least = output_error(made, found)
    for k in range(70):
        for level in range(16):
            other = found.integers.clone()
            other[:, :, k] = level
            tried = output_error(made, Solution(found.scale, found.zero_point, other))
            assert (tried >= least * (1 - 1e-9)).all()


def test_blocks_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows(4, 3, 50, dtype=torch.float64)
    begin = full_range(made)
    whole = descend(made, begin, sweeps=3)
    monkeypatch.setattr("mrecg.quant.output_descent._BLOCK", 7)
    monkeypatch.setattr("mrecg.quant.output_metric._WORK", 1)
    assert torch.equal(descend(made, begin, sweeps=3).integers, whole.integers)


def test_the_scale_is_that_of_least_squares() -> None:
    made = rows(2, 3, 20, dtype=torch.float64)
    found = full_range(made)
    fitted = refit(made, found)
    least = output_error(made, fitted)
    for factor in (0.999, 1.001):
        near = Solution(fitted.scale * factor, fitted.zero_point, fitted.integers)
        assert (output_error(made, near) > least).all()
    # The same by a solver: E[(w x - s u x)^2] is |L w - s L u|^2 with H = L^T L.
    factor_of = torch.linalg.cholesky(made.moments).transpose(1, 2)
    level = found.integers - made.spread(found.zero_point)
    for group, output in product(range(2), range(3)):
        a, b = factor_of[group] @ level[group, output], factor_of[group] @ made.weights[group, output]
        solved = torch.linalg.lstsq(a[:, None], b[:, None]).solution
        torch.testing.assert_close(fitted.scale[3 * group + output], solved[0, 0])


def test_a_scale_stays_where_the_integers_say_nothing_about_it() -> None:
    made = rows(1, 2, 4)
    zero = torch.tensor([7.0, 7.0])
    against = Solution(torch.ones(2), zero, 7 - made.weights.sign())
    assert torch.equal(refit(made, against).scale, torch.ones(2))
    nothing = Solution(torch.ones(2), zero, torch.full((1, 2, 4), 7.0))
    assert torch.equal(refit(made, nothing).scale, torch.ones(2))


@pytest.mark.parametrize("shape", [(12, 1, 9), (1, 8, 40)], ids=str)
@pytest.mark.parametrize("top", [3, 15])
def test_a_range_by_the_output_is_better_than_the_full_one(shape: tuple[int, int, int], top: int) -> None:
    made = rows(*shape, top=top)
    searched = search(made)
    assert output_error(made, searched).mean() < output_error(made, full_range(made)).mean()
    solved = solve(made, searched, sweeps=4)
    assert (output_error(made, solved) <= output_error(made, searched) * (1 + 1e-4)).all()
    assert output_error(made, solved).mean() < 0.8 * output_error(made, searched).mean() or shape[2] == 9


def test_every_grid_gets_the_best_candidate_of_its_own() -> None:
    made = rows(1, 6, 60, top=3)  # more inputs than a depthwise channel has
    together, alone = search(made), []
    for output in range(6):
        one = slice(output, output + 1)
        alone.append(
            search(Rows(made.weights[:, one], made.moments, torch.zeros(1, 1, dtype=torch.int64), 3))
        )
    for output, found in enumerate(alone):
        torch.testing.assert_close(together.scale[output], found.scale[0])
        assert together.zero_point[output] == found.zero_point[0]


def test_channels_that_share_a_grid_are_judged_together() -> None:
    made = rows(3, 2, 20)
    shared = Rows(made.weights, made.moments, torch.zeros(3, 2, dtype=torch.int64), 15)
    found = solve(shared, search(shared), sweeps=2)
    assert found.scale.shape == found.zero_point.shape == (1,)
    total = output_error(shared, found).sum()
    for factor in (0.99, 1.01):
        near = Solution(found.scale * factor, found.zero_point, found.integers)
        assert output_error(shared, near).sum() > total


def test_symmetric_grids_stay_centred() -> None:
    made = rows(4, 2, 9, top=15)
    assert (search(made, symmetric=True).zero_point == 8).all()


@pytest.mark.parametrize("shape", [(30, 1, 9), (1, 8, 130)], ids=str)
def test_float32_ends_where_float64_does(shape: tuple[int, int, int]) -> None:
    single, double = rows(*shape), rows(*shape, dtype=torch.float64)
    ends = [
        output_error(double, Solution(*(part.double() for part in (f.scale, f.zero_point, f.integers))))
        for f in (solve(made, search(made), sweeps=4) for made in (single, double))
    ]
    torch.testing.assert_close(ends[0].mean(), ends[1].mean(), rtol=0.02, atol=0)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    made = rows(2, 3, 9)
    dead = Rows(made.weights, damped(torch.zeros(2, 9, 9)), made.grids, 15)
    found = solve(dead, search(dead), sweeps=4)
    assert found.scale.isfinite().all() and (found.scale > 0).all()
    plain = Rows(made.weights, torch.eye(9).expand(2, 9, 9), made.grids, 15)
    assert torch.equal(found.integers, solve(plain, search(plain), sweeps=4).integers)


def test_a_channel_of_zeros_stays_zero() -> None:
    made = rows(2, 2, 9)
    weights = made.weights.clone()
    weights[0, 1] = 0
    with_zeros = Rows(weights, made.moments, made.grids, 15)
    found = solve(with_zeros, search(with_zeros), sweeps=4)
    level = found.integers - with_zeros.spread(found.zero_point)
    assert (level[0, 1] == 0).all() and found.scale.isfinite().all() and (found.scale > 0).all()
