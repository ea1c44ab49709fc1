"""Statistics of an activation that calibration collects."""

import torch
from torch import Tensor

from mrecg.quant import ranges


class Observer:
    """Collects the range, then the histogram, of one activation over two passes."""

    def __init__(self, bins: int) -> None:
        self.bins = bins
        self.low = self.high = torch.zeros(1)
        self.sums = self.counts = torch.zeros(1, bins, dtype=torch.float64)
        self.seen_range = False
        self.second_pass = False

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take in one batch.

        Args:
            x: Activations of any shape.
        """
        values = ranges.in_one_row(x)
        if not self.second_pass:
            low, high = ranges.extremes(values)
            self.low = torch.minimum(self.low, low) if self.seen_range else low
            self.high = torch.maximum(self.high, high) if self.seen_range else high
            self.seen_range = True
            return
        sums, counts = ranges.histogram(values, self.low, self.high, bins=self.bins)
        self.sums, self.counts = self.sums.to(sums) + sums, self.counts.to(counts) + counts

    def summary(self) -> ranges.Summary:
        """Return what was seen, as a weighted summary of one row."""
        points = (self.sums / self.counts.clamp(min=1)).to(self.low.dtype)
        return ranges.Summary(points, self.counts.to(self.low.dtype), self.low, self.high)
