"""What the ablation figures compare, and the axes that it stands on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mrecg.runs.metrics import BY_KEY
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FACTOR = 50.0
"""Values that differ by more than this get a logarithmic axis."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is compared.

    Attributes:
        key: Of the metric.
        title: On the axis.
        take: The value of a run as it stands on the axis; None where it has none.
        reference: The value in full precision; None where that says nothing.
    """

    key: str
    title: str
    take: Callable[[Run], float | None]
    reference: Callable[[Run], float | None] = lambda run: None

    @property
    def fraction(self) -> bool:
        """Whether it is a part of 100 per cent: its axis may begin above zero, and then says so."""
        return self.key == "top1"

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Of all runs that have it."""
        found = (self.take(run) for run in runs)
        return [value for value in found if value is not None and math.isfinite(value)]

    def written(self, value: float, *, beside: Sequence[float]) -> str:
        """The value as text, with as many decimals as all beside it: three digits, but no more than help."""
        if abs(value) >= 1e6:
            power = math.floor(math.log10(abs(value)))
            return rf"${value / 10**power:.1f}\cdot10^{{{power}}}$"
        if self.fraction or self.key == "seconds":
            return f"{value:,.{1 if self.fraction or max(beside) < 100 else 0}f}"
        least = min((other for other in beside if other > 0), default=1.0)
        return f"{value:,.{min(max(2 - math.floor(math.log10(least)), 0), 3)}f}"


def _measure(key: str, title: str) -> Measure:
    return Measure(key=key, title=title, take=BY_KEY[key].value)


def _top1(run: Run) -> float | None:
    return 100 * run.quantized.top1 if run.quantized else None


MEASURES = (
    Measure(
        key="top1",
        title="top-1 (%)",
        take=_top1,
        reference=lambda run: 100 * run.fp.top1 if run.fp else None,
    ),
    _measure("head_error", "error into the head"),
    _measure("loss_peak", "largest loss"),
    _measure("regrowth", "grows back"),
    _measure("seconds", "time (s)"),
)


def measures_of(runs: Sequence[Run]) -> list[Measure]:
    """The measures that say something: one that no run has, or that is 0 in all, is left out."""
    return [measure for measure in MEASURES if any(measure.values(runs))]


def scale_axis(
    axes: "Axes",
    measure: Measure,
    values: Sequence[float],
    *,
    along: Literal["x", "y"],
    margin: float = 0.08,
) -> str:
    """Set an axis such that it begins at zero, or says that it does not.

    Args:
        axes: Where.
        measure: What it shows.
        values: All that is drawn.
        along: Which axis.
        margin: Fraction of the axis that stays free after the largest value.

    Returns:
        Its title.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

    limits = axes.set_xlim if along == "x" else axes.set_ylim
    axis = axes.xaxis if along == "x" else axes.yaxis
    low, high = min(values), max(values)
    positive = [value for value in values if value > 0]
    if not measure.fraction and len(positive) == len(values) and high > FACTOR * low:
        (axes.set_xscale if along == "x" else axes.set_yscale)("log")
        limits(low / 2, high * (high / low) ** margin * 2)
        axis.set_major_locator(LogLocator(numticks=4))
        axis.set_minor_locator(NullLocator())
        return f"{measure.title}, log"
    plain = ScalarFormatter(useMathText=high >= 1e6)
    plain.set_powerlimits((-3, 6))
    axis.set_major_formatter(plain)
    axis.set_major_locator(MaxNLocator(nbins=4 if along == "x" else 5, steps=[1, 2, 2.5, 5, 10]))
    if not measure.fraction or low < 0.5 * high:
        bottom = min(0.0, 1.1 * low)
        limits(bottom, high + margin * (high - bottom) if high > bottom else 1.0)
        return measure.title
    room = max(high - low, 0.5)
    start = max(0.0, math.floor(low - 0.25 * room))
    limits(start, min(high + margin * room, 100 + margin * room))
    return f"{measure.title}, from {start:.0f}"
