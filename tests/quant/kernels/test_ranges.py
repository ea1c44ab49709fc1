from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrecg.quant.kernels import ranges
from mrecg.quant.kernels.jit import CHUNK

Floats = ranges.Floats
TOP, NORM = 15, 2.4
SHRINK = (1 - np.arange(20) / 20).astype(np.float32)


def normal(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def ends(rows: Floats) -> tuple[Floats, Floats]:
    low, high = ranges.extremes(rows)
    return np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))


def plain_histogram(row: Floats, low: np.float32, high: np.float32, bins: int) -> tuple[Floats, Floats]:
    index = np.clip(((row - low) / ((high - low) / np.float32(bins))).astype(np.int64), 0, bins - 1)
    sums = np.bincount(index, weights=row.astype(np.float64), minlength=bins)
    return sums, np.bincount(index, minlength=bins)


def searched(points: Floats, counts: Floats, *, symmetric: bool = False) -> tuple[Floats, Floats]:
    return ranges.search(points, counts, *ends(points), SHRINK, top=TOP, norm=NORM, symmetric=symmetric)


@given(st.integers(1, 5), st.integers(1, 100), st.integers(-3, 3))
def test_extremes_of_rows(count: int, size: int, shift: int) -> None:
    rows = normal(count, size) + np.float32(shift)
    low, high = ranges.extremes(rows)
    assert np.array_equal(low, rows.min(1)) and np.array_equal(high, rows.max(1))


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
@pytest.mark.parametrize("at", [0, -1])
def test_extremes_of_one_long_row(size: int, at: int) -> None:
    for value in (-np.inf, -7, 7, np.inf):
        row = normal(1, size)
        row[0, at] = value
        low, high = ranges.extremes(row)
        assert low.tolist() == [row.min()] and high.tolist() == [row.max()]


@pytest.mark.parametrize("nan", [np.float32(np.nan), -np.float32(np.nan)])
def test_a_nan_is_the_extreme_of_its_row_alone(nan: np.float32) -> None:
    rows = normal(3, 2 * CHUNK)
    rows[1, CHUNK + 3] = nan
    for found in (*ranges.extremes(rows), *ranges.extremes(rows[1:2])):
        assert np.isnan(found).tolist() == ([False, True, False] if len(found) == 3 else [True])


CHANGES: list[Callable[[Floats], Floats]] = [
    lambda x: x,
    lambda x: np.maximum(x, 0),
    lambda x: np.clip(8 * x, 0, 6),
    lambda x: np.clip(x, -1, 1),
    lambda x: -np.abs(x),
    np.ones_like,
    np.zeros_like,
    lambda x: np.where(x > 0, np.float32(-0.0), x),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("count", "size", "bins"), [(1, 1, 4), (1, 5000, 2048), (1, 3001, 3), (4, 777, 64)])
def test_histograms_are_the_plain_ones(
    change: Callable[[Floats], Floats], count: int, size: int, bins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.ascontiguousarray(change(normal(count, size)))
    low, high = ends(rows)
    high = np.maximum(high, low + np.float32(1e-3))  # the plain one has no answer for a range of width 0
    whole = ranges.histogram(rows, low, high, bins)
    for i in range(count):
        sums, counts = plain_histogram(rows[i], low[i], high[i], bins)
        assert np.array_equal(whole[1][i], counts)
        np.testing.assert_allclose(whole[0][i], sums, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(ranges, "PIECE", 100)
    pieces = ranges.histogram(rows, low, high, bins)
    assert np.array_equal(pieces[1], whole[1])
    np.testing.assert_allclose(pieces[0], whole[0], rtol=1e-12, atol=1e-12)


def test_values_of_an_empty_range_and_outside_of_a_range_are_counted() -> None:
    zeros, ones = np.zeros(1, np.float32), np.ones(1, np.float32)
    _, counts = ranges.histogram(np.zeros((1, 9), np.float32), zeros, zeros, 4)
    assert counts.tolist() == [[9, 0, 0, 0]]
    _, counts = ranges.histogram(np.array([[-5, 0.5, 5]], np.float32), zeros, ones, 4)
    assert counts.tolist() == [[1, 0, 1, 1]]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf, 3.4e38])
def test_no_value_falls_beside_the_bins(bad: float) -> None:
    rows = normal(3, 400)
    rows[1, ::7] = bad
    rows[1, 0] = -3.4e38
    for low, high in (ends(rows), (-np.ones(3, np.float32), np.ones(3, np.float32))):
        sums, counts = ranges.histogram(rows, low, high, 16)
        assert counts.sum(1).tolist() == [400.0] * 3 and counts.min() >= 0
        assert np.isfinite(sums[[0, 2]]).all()
        alone = ranges.histogram(rows[2:], low[2:], high[2:], 16)
        assert np.array_equal(alone[0][0], sums[2]) and np.array_equal(alone[1][0], counts[2])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 200])
def test_points_that_stand_for_nothing_change_nothing(size: int, symmetric: bool) -> None:
    points, full = normal(3, size), np.ones((3, size), np.float32)
    low, high = ends(points)
    wide = np.zeros((3, 2 * size), np.float32)
    counts = np.zeros_like(wide)
    wide[:, 1::2], counts[:, 1::2] = points, full
    settings = {"top": TOP, "norm": NORM, "symmetric": symmetric}
    narrow = ranges.search(points, full, low, high, SHRINK, **settings)
    for a, b in zip(narrow, ranges.search(wide, counts, low, high, SHRINK, **settings), strict=True):
        assert np.array_equal(a, b)


def test_counts_are_repetitions() -> None:
    points = normal(2, 70)
    counts = np.random.default_rng(1).integers(1, 5, points.shape)
    once = searched(points, counts.astype(np.float32))
    for i in range(2):
        repeated = np.repeat(points[i], counts[i])[None]
        scale, zero = searched(repeated, np.ones_like(repeated))
        assert scale[0] == once[0][i] and zero[0] == once[1][i]


def test_tiny_and_huge_rows_have_the_same_search() -> None:
    row = normal(1, 300)
    scale, zero = searched(row, np.ones_like(row))
    for exponent in (-18, 40, 100):
        other, level = searched(row * np.float32(2.0**exponent), np.ones_like(row))
        assert other[0] == scale[0] * np.float32(2.0**exponent) and level[0] == zero[0]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_have_no_scale_and_disturb_no_others(bad: float, symmetric: bool) -> None:
    points = normal(3, 100)
    clean = searched(points, np.ones_like(points), symmetric=symmetric)
    points[1, 50] = bad
    scale, zero = searched(points, np.ones_like(points), symmetric=symmetric)
    assert not np.isfinite(scale[1])
    for i in (0, 2):
        assert scale[i] == clean[0][i] and zero[i] == clean[1][i]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_results_do_not_depend_on_the_number_of_threads(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PIECE": 200, "VALUES_GRAIN": 1, "ROWS_GRAIN": 1}.items():
        monkeypatch.setattr(ranges, name, value)
    for rows in (normal(7, 2 * CHUNK), normal(1, 7 * CHUNK + 5)):
        found = []
        for number in (1, 2, 3):
            threads(number)
            low, high = ends(rows)
            sums, counts = ranges.histogram(rows, low, high, 64)
            points = (sums / np.maximum(counts, 1)).astype(np.float32)
            found.append((low, high, sums, counts, *searched(points, counts.astype(np.float32))))
        for other in found[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
