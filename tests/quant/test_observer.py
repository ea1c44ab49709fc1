import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mrecg.quant import ranges
from mrecg.quant.kernels.switch import fused
from mrecg.quant.observer import Observer

BINS = 64


def observed(batches: list[Tensor]) -> ranges.Summary:
    observer = Observer(BINS)
    for observer.second_pass in (False, True):
        for x in batches:
            observer.observe(x)
    return observer.summary()


def assert_equal(a: ranges.Summary, b: ranges.Summary) -> None:
    assert torch.equal(a.counts, b.counts) and torch.equal(a.low, b.low) and torch.equal(a.high, b.high)
    torch.testing.assert_close(a.points, b.points)


@pytest.mark.parametrize("on", [True, False])
def test_batches_are_seen_as_one_tensor(on: bool) -> None:
    x = torch.randn(6, 3, 8, 8)
    with fused(on):
        summary = observed(list(x.split([1, 4, 1])))
        assert_equal(summary, observed([x]))
        assert_equal(summary, ranges.summarise(x.reshape(1, -1), bins=BINS))
    assert summary.counts.sum() == x.numel()


CHANGES: list[Callable[[Tensor], Tensor]] = [
    lambda x: x,
    lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x[:, :, ::2],
    lambda x: x.flatten(1),
    lambda x: x.relu().mul(5).clamp(max=6),
    lambda x: -x.abs() - 1,
    torch.zeros_like,
    torch.ones_like,
    lambda x: x[:1, :1, :1, :1],
]


@pytest.mark.parametrize("change", CHANGES)
def test_kernels_see_what_plain_operations_see(change: Callable[[Tensor], Tensor]) -> None:
    batches = [change(torch.randn(2, 3, 12, 12)), change(torch.randn(5, 3, 12, 12))]
    kernel = observed(batches)
    with fused(False):
        plain = observed(batches)
    assert_equal(kernel, plain)
    assert_equal(kernel, observed([x.contiguous() for x in batches]))
    torch.testing.assert_close(
        ranges.search(kernel, 15, norm=2.4, candidates=20),
        ranges.search(plain, 15, norm=2.4, candidates=20),
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_shows_in_the_scale(bad: float) -> None:
    batches = [torch.randn(2, 3, 8, 8) for _ in range(3)]
    batches[1][0, 1, 2, 3] = bad
    summaries = [observed(batches)]
    with fused(False):
        summaries.append(observed(batches))
        scales = [ranges.search(s, 15, norm=2.4, candidates=20)[0] for s in summaries]
    scales.append(ranges.search(summaries[0], 15, norm=2.4, candidates=20)[0])
    assert not any(torch.isfinite(scale) for scale in scales)
    assert summaries[0].counts.sum() == sum(x.numel() for x in batches)


def test_gradients_stay_outside() -> None:
    x = torch.randn(4, 10, requires_grad=True)
    assert not observed([x]).points.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_served(dtype: torch.dtype) -> None:
    summary = observed([torch.randn(2, 3, 8, 8).to(dtype)])
    assert summary.low.dtype == summary.points.dtype == dtype and summary.counts.sum() == 384
