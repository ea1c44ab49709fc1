import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mrecg.quant import ranges
from mrecg.quant.affine import dequantize, quantize
from mrecg.quant.kernels.switch import fused

NORM = 2.4


def true_error(values: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    scale, zero = scale.unsqueeze(1), zero.unsqueeze(1)
    return (dequantize(quantize(values, scale, zero, top), scale, zero) - values).abs().pow(NORM).sum(1)


def brute_force(row: Tensor, top: int, candidates: int) -> tuple[float, float]:
    """The search written plainly, one value and one candidate at a time, on one row."""

    def grid(low: float, high: float) -> tuple[float, float]:
        scale = (high - low) / top
        return scale, float(min(max(round(-low / scale), 0), top))

    def error(low: float, high: float) -> float:
        scale, zero = grid(low, high)
        levels = [min(max(round(v / scale) + zero, 0), top) for v in row.tolist()]
        return math.fsum(
            abs((q - zero) * scale - v) ** NORM for q, v in zip(levels, row.tolist(), strict=True)
        )

    low, high = min(0.0, row.min().item()), max(0.0, row.max().item())
    shrink = [1 - i / candidates for i in range(candidates)]
    for ends in ("both", "low", "high"):
        pairs = [(low * (s if ends != "high" else 1), high * (s if ends != "low" else 1)) for s in shrink]
        low, high = min(pairs, key=lambda pair: error(*pair))
    return grid(low, high)


@pytest.mark.parametrize("top", [3, 15])
def test_search_is_exact_for_few_values(top: int) -> None:
    values = torch.randn(4, 40, dtype=torch.float64).pow(3)
    scale, zero = ranges.search(ranges.summarise(values, bins=64), top, norm=NORM, candidates=20)
    for i, row in enumerate(values):
        expected_scale, expected_zero = brute_force(row, top, 20)
        assert scale[i].item() == pytest.approx(expected_scale, rel=1e-12)
        assert zero[i].item() == expected_zero


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("count", [300, 3000])
def test_search_is_never_worse_than_the_extremes(symmetric: bool, bits: int, count: int) -> None:
    values, top = torch.randn(5, count, dtype=torch.float64), 2**bits - 1
    values[1] = values[1].pow(3)
    values[2] = values[2].relu()
    summary = ranges.summarise(values, bins=8 * (top + 1))
    found = ranges.search(summary, top, norm=NORM, candidates=80, symmetric=symmetric)
    extremes = ranges.grid(summary.low, summary.high, top, symmetric=symmetric)
    slack = 1 + 1e-9 if count <= ranges.EXACT_POINTS else 1.01  # a histogram knows the bins' means only
    assert (true_error(values, *found, top) <= slack * true_error(values, *extremes, top)).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_histogram_search_is_close_to_the_exact_one(bits: int) -> None:
    values, top = torch.randn(6, 2500, dtype=torch.float64), 2**bits - 1
    exact = ranges.Summary(values, torch.ones_like(values), values.amin(1), values.amax(1))
    bins = 8 * (top + 1)
    coarse = ranges.summarise(values, bins=bins)
    assert coarse.points.shape == (6, bins)
    by_values = true_error(values, *ranges.search(exact, top, norm=NORM, candidates=80), top)
    by_bins = true_error(values, *ranges.search(coarse, top, norm=NORM, candidates=80), top)
    assert (by_bins <= 1.03 * by_values).all()


def test_histogram_keeps_the_mass() -> None:
    values = torch.randn(3, 1000)
    sums, counts = ranges.histogram(values, values.amin(1), values.amax(1), bins=37)
    assert counts.sum(1).tolist() == [1000.0] * 3
    torch.testing.assert_close(sums.sum(1), values.double().sum(1))
    edges = torch.histc(values[0], 37, values[0].min().item(), values[0].max().item())
    assert (counts[0] - edges).abs().sum() <= 4  # but for values on an edge


def test_histogram_counts_past_the_precision_of_float32() -> None:
    many = torch.zeros(1, 2**24 + 8)
    _, counts = ranges.histogram(many, torch.tensor([0.0]), torch.tensor([1.0]), bins=4)
    assert counts[0, 0].item() == 2**24 + 8


def test_means_of_bins_stay_inside_their_bins() -> None:
    values = torch.rand(1, 300_000) + 0.5
    low, high = torch.tensor([0.0]), values.amax(1)
    sums, counts = ranges.histogram(values, low, high, bins=8)
    width = high / 8
    means, full = sums[0] / counts[0].clamp(min=1), counts[0] > 0
    left = torch.arange(8) * width
    assert (means[full] >= left[full] - 1e-4).all() and (means[full] <= (left + width)[full] + 1e-4).all()


def test_symmetric_grids_are_centred() -> None:
    values = torch.randn(3, 100)
    scale, zero = ranges.search(
        ranges.summarise(values, bins=64), 15, norm=NORM, candidates=30, symmetric=True
    )
    assert zero.tolist() == [8.0] * 3
    full_scale, _ = ranges.grid(torch.tensor(-4.0), torch.tensor(3.5), 15, symmetric=True)
    assert full_scale.item() == 0.5
    assert (scale <= torch.maximum(-values.amin(1) / 8, values.amax(1) / 7) + 1e-6).all()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("count", [9, 900])
def test_degenerate_channels(symmetric: bool, count: int) -> None:
    values = torch.stack([torch.zeros(count), torch.full((count,), 2.0), torch.full((count,), -3.0)])
    summary = ranges.summarise(values, bins=64)
    scale, zero = ranges.search(summary, 7, norm=NORM, candidates=10, symmetric=symmetric)
    assert (scale > 0).all() and torch.isfinite(scale).all()
    assert true_error(values, scale, zero, 7).max() < 1e-3


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("count", [300, 3000])
@pytest.mark.parametrize("exponent", [-120, -66, -27, -18, 40, 100])
def test_a_grid_is_as_fine_as_what_was_seen_is_small(
    symmetric: bool, on: bool, count: int, exponent: int
) -> None:
    """Multiplied by a power of two, values have the same search, of float32's whole range."""
    values = torch.randn(3, count, generator=torch.Generator().manual_seed(0)).pow(3)
    with fused(on):
        found = []
        for factor in (1.0, 2.0**exponent):
            summary = ranges.summarise(values * factor, bins=512)
            settings = {"norm": NORM, "candidates": 40, "symmetric": symmetric}
            found.append((*ranges.search(summary, 255, **settings), summary))
    (scale, zero, _), (other, level, summary) = found
    # Steps below the normal numbers of float32 have fewer digits.
    torch.testing.assert_close(other, scale * 2.0**exponent, rtol=1e-3 if exponent < -110 else 1e-6, atol=0.0)
    assert (level - zero).abs().max() <= (exponent < -110)
    plain, _ = ranges.grid(summary.low, summary.high, 255, symmetric=symmetric)
    assert (plain > 0).all() and (plain < 2.0**exponent).all()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("count", [9, 900])
def test_nothing_and_next_to_nothing_have_a_grid(symmetric: bool, on: bool, count: int) -> None:
    values = torch.zeros(4, count)
    values[1, 3], values[2, 3], values[2, 4], values[3] = 1e-45, -1e-42, 3e-42, torch.linspace(-1, 2, count)
    with fused(on):
        summary = ranges.summarise(values, bins=64)
        for scale, zero in (
            ranges.search(summary, 7, norm=NORM, candidates=10, symmetric=symmetric),
            ranges.grid(summary.low, summary.high, 7, symmetric=symmetric),
        ):
            assert scale.isfinite().all() and (scale > 0).all() and ((zero >= 0) & (zero <= 7)).all()
            read = dequantize(
                quantize(values, scale[:, None], zero[:, None], 7), scale[:, None], zero[:, None]
            )
            assert read.isfinite().all() and (read[0] == 0).all()
            assert (read[:3] - values[:3]).abs().max() <= 1e-42
            beyond = quantize(torch.tensor([-3e38, 3e38, 0.0]), scale[:, None], zero[:, None], 7)
            assert beyond.isfinite().all()


@pytest.mark.parametrize("on", [True, False])
def test_a_row_of_zeros_is_no_coarser_than_the_others(on: bool) -> None:
    """Soft rounding may lift its integers for a while: a step of 1e-7 would drown a network of 1e-20."""
    with fused(on):
        for size, expected in ((1.0, torch.finfo(torch.float32).eps), (1e-20, None)):
            values = torch.stack([torch.zeros(40), torch.linspace(-size, size, 40)])
            summary = ranges.summarise(values, bins=64)
            for scale, _ in (
                ranges.search(summary, 15, norm=NORM, candidates=10),
                ranges.grid(summary.low, summary.high, 15),
            ):
                assert scale[0] == (scale[1] if expected is None else expected)


def test_positive_channels_use_the_whole_grid() -> None:
    scale, zero = ranges.grid(torch.tensor([0.0]), torch.tensor([6.0]), 15)
    assert str(zero.item()) == "0.0" and scale.item() == pytest.approx(0.4)  # not -0.0
    values = torch.rand(1, 200) + 1
    _, zero = ranges.search(ranges.summarise(values, bins=64), 15, norm=NORM, candidates=20)
    assert zero.item() == 0


@pytest.mark.parametrize("count", [50, 900])
def test_channels_do_not_see_each_other(count: int) -> None:
    values = torch.randn(5, count) * torch.tensor([1e-3, 1.0, 50.0, 0.3, 7.0]).unsqueeze(1)
    together = ranges.search(ranges.summarise(values, bins=64), 7, norm=NORM, candidates=20)
    for i in range(5):
        alone = ranges.search(ranges.summarise(values[i : i + 1], bins=64), 7, norm=NORM, candidates=20)
        assert alone[0].item() == together[0][i].item() and alone[1].item() == together[1][i].item()


def test_work_is_cut_into_parts_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(3, 700)
    whole = ranges.search(ranges.summarise(values, bins=64), 7, norm=NORM, candidates=20)
    monkeypatch.setattr(ranges, "_WORK", 500)
    parts = ranges.search(ranges.summarise(values, bins=64), 7, norm=NORM, candidates=20)
    assert torch.equal(whole[0], parts[0]) and torch.equal(whole[1], parts[1])


def float32_rows(channels: int, count: int, magnitude: float = 1.0) -> Tensor:
    """Rows of several kinds: normal, heavy tails, ReLU, one side only, few different values."""
    values = torch.randn(channels, count)
    kinds = [values, values.pow(3), values.relu(), -values.abs() - 1, values.mul(2).round()]
    return torch.stack([kinds[i % len(kinds)][i] for i in range(channels)]) * magnitude


def both_ways(values: Tensor, top: int, *, symmetric: bool = False) -> list[tuple[Tensor, Tensor]]:
    found = []
    for on in (True, False):
        with fused(on):
            summary = ranges.summarise(values, bins=8 * (top + 1))
            found.append(ranges.search(summary, top, norm=NORM, candidates=80, symmetric=symmetric))
    return found


@given(
    channels=st.integers(1, 12),
    count=st.sampled_from([1, 2, 9, 64, 65, 300, 512, 513, 2000]),
    bits=st.sampled_from([2, 4, 8]),
    magnitude=st.sampled_from([1e-3, 1.0, 1e4]),
    symmetric=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_fused_search_is_as_good_as_the_plain_one(
    channels: int, count: int, bits: int, magnitude: float, symmetric: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    values, top = float32_rows(channels, count, magnitude), 2**bits - 1
    kernel, plain = both_ways(values, top, symmetric=symmetric)
    points = ranges.summarise(values, bins=8 * (top + 1))
    ours, theirs = (
        true_error_of_points(points, scale.double(), zero.double(), top) for scale, zero in (kernel, plain)
    )
    # Errors at the level of rounding are none: extremes that stand on the grid, in channels of few values.
    noise = count * (1e-5 * plain[0].double()) ** NORM
    assert (ours <= (1 + 1e-5) * theirs + noise).all()
    assert torch.isclose(kernel[0], plain[0], rtol=1e-6).float().mean() >= 0.8 or channels < 5


def true_error_of_points(summary: ranges.Summary, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    points, scale, zero = summary.points.double(), scale.unsqueeze(1), zero.unsqueeze(1)
    error = (dequantize(quantize(points, scale, zero, top), scale, zero) - points).abs().pow(NORM)
    return (error * summary.counts).sum(1)


@pytest.mark.parametrize("top", [3, 15])
def test_fused_search_is_brute_force(top: int) -> None:
    values = torch.randn(4, 40).pow(3)
    scale, zero = ranges.search(ranges.summarise(values, bins=64), top, norm=NORM, candidates=20)
    for i, row in enumerate(values.double()):
        expected_scale, expected_zero = brute_force(row, top, 20)
        assert scale[i].item() == pytest.approx(expected_scale, rel=1e-6)
        assert zero[i].item() == expected_zero


@pytest.mark.parametrize("norm", [1.0, 2.0, 2.4, 8.0])
def test_any_norm_of_the_schema(norm: float) -> None:
    values = float32_rows(5, 200)
    found = []
    for on in (True, False):
        with fused(on):
            found.append(ranges.search(ranges.summarise(values, bins=64), 15, norm=norm, candidates=40))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("count", [9, 900])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_end_as_in_the_plain_search(
    bad: float, count: int, symmetric: bool
) -> None:
    values = torch.randn(4, count)
    values[1, count // 2] = bad
    values[2] = 0
    for kernel, plain in zip(*both_ways(values, 15, symmetric=symmetric), strict=True):
        torch.testing.assert_close(kernel, plain, equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (6, 700)])
def test_fused_histograms_and_extremes_are_the_plain_ones(shape: tuple[int, int]) -> None:
    values = torch.randn(shape).clamp(-1, 2)
    found = []
    for on in (True, False):
        with fused(on):
            ends = ranges.extremes(values)
            found.append((*ends, *ranges.histogram(values, *ends, bins=100)))
    assert all(a.dtype == b.dtype for a, b in zip(*found, strict=True))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_rows_need_not_be_contiguous() -> None:
    values = torch.randn(700, 5).t()
    for got, expected in zip(both_ways(values, 15)[0], both_ways(values.contiguous(), 15)[0], strict=True):
        assert torch.equal(got, expected)


def test_one_row_is_no_copy_where_there_are_no_gaps() -> None:
    images, volumes = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5, 6)
    dense = [
        images,
        images.contiguous(memory_format=torch.channels_last),
        volumes.contiguous(memory_format=torch.channels_last_3d),
        images.transpose(0, 3),
        torch.randn(7),
        torch.tensor(3.0),
    ]
    for x in dense:
        row = ranges.in_one_row(x)
        assert row.shape == (1, x.numel()) and row.data_ptr() == x.data_ptr()
        assert row.sort().values.equal(x.reshape(1, -1).sort().values)
    for x in (images[:, :, ::2], images[:, :1], images[:1, :1, :1, :1].expand(2, 3, 4, 5)):
        assert ranges.in_one_row(x).sort().values.equal(x.reshape(1, -1).sort().values)
