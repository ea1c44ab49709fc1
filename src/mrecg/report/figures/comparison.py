"""What belongs in one oscillation figure: a block-wise configuration, and those that are compared with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from mrecg.report.compare import (
    Panel,
    Series,
    all_but_merges,
    baseline_of,
    control_of,
    merge_count,
    rank,
    unit_errors,
)
from mrecg.report.pairs import compared, pairs
from mrecg.report.palette import kind
from mrecg.runs.measures import against_block

MOST_LINES = 5
"""Lines in one pair of axes, where they are not a sequence; more configurations are a heat map."""
MOST_ROWS = 40
"""Configurations in one figure; of more the best of each method and kind are drawn."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Configurations of one figure.

    Attributes:
        panel: Them, the baseline first and the control last.
        baseline: The block-wise one; None where there is none, and the errors are shown alone.
        control: The block-wise one of about the same time, by more steps; beside a single other one.
    """

    panel: Panel
    baseline: Series | None
    control: Series | None = None

    @property
    def others(self) -> tuple[Series, ...]:
        """All but the baseline and the control."""
        return tuple(one for one in self.panel.series if one is not self.baseline and one is not self.control)

    @cached_property
    def ordinal(self) -> bool:
        """Whether the others, which are sorted by it, differ in the number of merges alone."""
        counts = [merge_count(series.first) for series in self.others]
        return len(counts) > 1 and None not in counts and len(counts) == len(set(counts)) and self._alike

    @property
    def _alike(self) -> bool:
        return len({all_but_merges(series.first) for series in self.others}) == 1

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
    compares = [(baseline_of(panel, series), series) for series in panel.series]
    found: list[Comparison] = []
    for first in panel.series:
        others = [series for baseline, series in compares if baseline is first]
        if others:
            others.sort(key=lambda series: merge_count(series.first) or 0)
            control = control_of(panel, others[0]) if len(others) == 1 else None
            own = (first, *others, *([control] if control else []))
            found.append(Comparison(panel=_readable(panel, own, first), baseline=first, control=control))
    used = [one for comparison in found for one in (comparison.baseline, comparison.control) if one]
    # A second configuration without merges, of the same settings, is the baseline again.
    same = [one for alike in panel.block_wise.values() if any(map(used.__contains__, alike)) for one in alike]
    alone = [series for baseline, series in compares if baseline is None and series not in used]
    if not found or any(series not in same for series in alone):
        kept = [one for one in panel.series if one in used or (one in alone and one not in same)]
        found.append(Comparison(panel=_readable(panel, kept or alone), baseline=None))
    return found


def _readable(panel: Panel, series: Sequence[Series], first: Series | None = None) -> Panel:
    """Of many configurations the best of each method and kind."""
    best: dict[object, Series] = {}
    for one in series if len(series) > MOST_ROWS else ():
        key = "baseline" if one is first else (one.first.method, kind(one))
        best[key] = max(best.get(key, one), one, key=rank)
    return replace(panel, series=tuple(best.values()) or tuple(series))


def against(baseline: Series, series: Series) -> list[tuple[float, float, float]]:
    """Compare the error after each unit with the block-wise one.

    Returns:
        For each unit the change in per cent: of the means over the seeds that both have (over all, where they
        share none), and the least and the largest one of a seed. Not a number where there is none.
    """
    before, after = (unit_errors(runs) for runs in compared(baseline, series))
    seeds = [changes(one.errors, other.errors) for one, other in pairs(baseline, series)]
    found = []
    for i, mean in enumerate(changes(before, after)):
        own = [seed[i] for seed in seeds if math.isfinite(seed[i])] or [mean]
        found.append((mean, min(own), max(own)))
    return found


def changes(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """The changes of errors in per cent; not a number where it has no meaning.

    >>> changes([0.5], [0.4])
    [-20.0]
    """
    return [round(100 * value, 9) for value in against_block(after, before)]


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
