"""What belongs in one oscillation figure: a block-wise configuration, and those that are compared with it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Literal

from mrecg.report.compare import BASELINE, Panel, Series, baseline_of, merge_count, peak, top1
from mrecg.report.labels import SETTINGS
from mrecg.report.palette import kind
from mrecg.runs.records import Run

MOST_LINES = 5
"""Lines in one pair of axes, where they are not a sequence; more configurations are a heat map."""
MOST_ROWS = 40
"""Configurations in one figure; of more the best of each method and kind are drawn."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Configurations of one figure.

    Attributes:
        panel: Them, the baseline first.
        baseline: The block-wise one; None where there is none, and the errors are shown alone.
    """

    panel: Panel
    baseline: Series | None

    @property
    def others(self) -> tuple[Series, ...]:
        """All but the baseline."""
        return self.panel.series[1:] if self.baseline else self.panel.series

    @cached_property
    def ordinal(self) -> bool:
        """Whether the others, which are sorted by it, differ in the number of merges alone."""
        counts = [merge_count(series.first) for series in self.others]
        return len(counts) > 1 and None not in counts and len(counts) == len(set(counts)) and self._alike

    @property
    def _alike(self) -> bool:
        return len({(series.first.planner, settings(series.first)) for series in self.others}) == 1

    @property
    def form(self) -> Literal["pair", "sweep", "lines", "map"]:
        """How it is drawn: two lines and bars; lines and a heat map; lines alone; a heat map alone."""
        if self.baseline:
            return "pair" if len(self.others) == 1 else "sweep"
        return "lines" if len(self.others) <= MOST_LINES or self.ordinal else "map"


def comparisons(panel: Panel) -> list[Comparison]:
    """Sort the configurations of a panel into figures.

    Returns:
        One comparison for each block-wise configuration that others are compared with; last, where some
        configurations belong to none, one of these and of the block-wise ones.
    """
    pairs = [(_baseline(panel, series), series) for series in panel.series]
    found = []
    for first in panel.series:
        others = [series for baseline, series in pairs if baseline is first]
        if others:
            others.sort(key=lambda series: merge_count(series.first) or 0)
            found.append(Comparison(panel=_readable(panel, (first, *others), first), baseline=first))
    alone = tuple(series for baseline, series in pairs if baseline is None)
    baselines = [comparison.baseline for comparison in found]
    if any(series not in baselines for series in alone) or not found:
        found.append(Comparison(panel=_readable(panel, alone), baseline=None))
    return found


def _readable(panel: Panel, series: Sequence[Series], first: Series | None = None) -> Panel:
    """Of many configurations that of each method and kind with the highest top-1, or the lowest peak."""
    best: dict[object, tuple[tuple[float, float], Series]] = {}
    for one in series if len(series) > MOST_ROWS else ():
        scores = [value for run in one.runs if (value := top1(run)) is not None]
        peaks = [value for run in one.runs if (value := peak(run)) is not None]
        rank = (fmean(scores) if scores else -1.0, -fmean(peaks) if peaks else -math.inf)
        key = "baseline" if one is first else (one.first.method, kind(one))
        if key not in best or rank > best[key][0]:
            best[key] = (rank, one)
    kept = tuple(one for _, one in best.values()) if best else tuple(series)
    return replace(panel, series=kept)


def _baseline(panel: Panel, series: Series) -> Series | None:
    """The configuration that another one is compared with; None for one that merges nothing."""
    if not any(run.merged for run in series.runs) and series.first.granularity != "mixed":
        return None
    found = baseline_of(panel, series)
    if found or series.first.granularity == BASELINE:
        return found
    # A plan without merges is block-wise, whatever its granularity is called.
    return next(
        (
            other
            for other in panel.series
            if other is not series
            and other.first.granularity == "mixed"
            and not any(run.merged for run in other.runs)
            and settings(other.first) == settings(series.first)
            and any(run.merged for run in series.runs)
        ),
        None,
    )


def settings(run: Run) -> tuple[object, ...]:
    """What two runs must share to be compared: method, budget and options, but not those of the merges."""
    options = sorted(item for item in run.options.items() if not item[0].startswith("planner."))
    said = [text for say in SETTINGS if not (text := say(run)).startswith("steps per")]
    return (run.method, *said, *options)


def errors(series: Series, take: Callable[[Sequence[float]], float] = fmean) -> list[float]:
    """Relative error after each unit, over the seeds; not a number where none was finite."""
    columns = zip(*([unit.error for unit in run.units] for run in series.runs), strict=True)
    finite = [[float(v) for v in column if math.isfinite(v)] for column in columns]
    return [take(column) if column else math.nan for column in finite]


def against(baseline: Series, series: Series) -> list[tuple[float, float, float]]:
    """Compare the error after each unit with the block-wise one.

    Returns:
        For each unit the change in per cent: of the means over the seeds that both have (over all, where they
        share none), and the least and the largest one of a seed. Not a number where there is none.
    """
    before, after = ({run.seed: run for run in one.runs} for one in (baseline, series))
    common = [seed for seed in before if seed in after]
    if common:
        pairs = [(before[seed], after[seed]) for seed in common]
        runs = [
            replace(baseline, runs=tuple(b for b, _ in pairs)),
            replace(series, runs=tuple(a for _, a in pairs)),
        ]
    else:
        pairs, runs = [], [baseline, series]
    means = [change(b, a) for b, a in zip(errors(runs[0]), errors(runs[1]), strict=True)]
    seeds = [
        [change(b.error, a.error) for b, a in zip(one.units, other.units, strict=True)]
        for one, other in pairs
    ]
    found = []
    for i, mean in enumerate(means):
        own = [seed[i] for seed in seeds if math.isfinite(seed[i])] or [mean]
        found.append((mean, min(own), max(own)))
    return found


def change(before: float, after: float) -> float:
    """A change in per cent; not a number where it has no meaning.

    >>> change(0.5, 0.4)
    -20.0
    """
    return round(100 * (after / before - 1), 9) if before > 0 and math.isfinite(before) else math.nan


def told_apart(labels: Sequence[str]) -> list[str]:
    """Leave out of labels what all of them say.

    >>> told_apart(["BRECQ, by loss, 5 merges", "BRECQ, by error, 5 merges"])
    ['by loss', 'by error']
    """
    split = [label.split(", ") for label in labels]
    shared = set(split[0]).intersection(*split[1:]) if len(split) > 1 else set()
    short = [", ".join(part for part in parts if part not in shared) for parts in split]
    return short if all(short) and len(set(short)) == len(set(labels)) else list(labels)


def shared(labels: Sequence[str]) -> str:
    """What all labels say.

    >>> shared(["BRECQ, by loss, 5 merges", "BRECQ, by error, 5 merges"])
    'BRECQ, 5 merges'
    """
    split = [label.split(", ") for label in labels]
    return ", ".join(part for part in split[0] if all(part in parts for parts in split))
