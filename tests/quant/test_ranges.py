import math

import pytest
import torch
from torch import Tensor

from mrecg.quant import ranges
from mrecg.quant.affine import dequantize, quantize

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
