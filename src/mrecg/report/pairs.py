"""Merged configurations against the block-wise ones that are otherwise the same: what merging changed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from mrecg.errors import DataError
from mrecg.planner.schedule import group_name
from mrecg.report import decisions
from mrecg.report.compare import Panel, Series, baseline_of, control_of, told_by, unit_errors
from mrecg.runs import metrics
from mrecg.runs.measures import against_block
from mrecg.runs.records import Run

Change = Callable[[Run, Run], Mapping[str, Any] | None]
"""Compares the top-1 accuracies of two runs; see `decisions.between`."""
CLEAR = 2.0
"""Standard errors from which on two accuracies are said to differ."""
MEASURES = ("head_error", "loss_peak", "regrowth", "seconds")


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A number of two configurations.

    Attributes:
        before: Mean of the first over the seeds that both have; over all of its own where they share none.
        after: Likewise of the second.
        error: Standard error of the change over the images; None where it is not known.
        paired: Whether that error is of the same images, one by one.
        images: Behind each of the two; 0 where it is no accuracy.
        seeds: Number of seeds that were paired; 0 where they share none.
    """

    before: float
    after: float
    error: float | None = None
    paired: bool = False
    images: int = 0
    seeds: int = 0

    @property
    def change(self) -> float:
        """The second less the first."""
        return self.after - self.before

    @property
    def share(self) -> float | None:
        """The change as a fraction of the first; None where that is 0."""
        return self.change / self.before if self.before > 0 else None

    @property
    def clear(self) -> bool:
        """Whether the change is more than chance makes of equal ones, as far as its error is known."""
        return abs(self.change) > (1e-12 if self.error is None else CLEAR * self.error)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What one merge changed.

    Attributes:
        units: The units that were optimised jointly.
        change: Relative error after the last of them, against the block-wise run: a fraction of that run's.
        seconds: Optimisation of the group, less that of its units one by one; None where it was not measured.
    """

    units: tuple[str, ...]
    change: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A configuration that merges against the block-wise one that differs in that alone.

    Attributes:
        panel: The network, images and bit widths.
        baseline: The block-wise configuration.
        series: The other one.
        top1: Top-1 accuracy; None where a run was not evaluated, or the two on other images.
        measures: By the key of a metric: those of `MEASURES` that both have.
        merges: In network order, of the schedule that most of the seeds have that merge any.
        control: A block-wise configuration that was given about as much time, if there is one.
        against_control: Top-1 of the control and of the merging configuration.
    """

    panel: Panel
    baseline: Series
    series: Series
    top1: Delta | None
    measures: Mapping[str, Delta]
    merges: tuple[Merged, ...]
    control: Series | None
    against_control: Delta | None

    @property
    def runs(self) -> tuple[list[Run], list[Run]]:
        """The runs that it is about, see `compared`."""
        return compared(self.baseline, self.series)


def findings(shown: Sequence[Panel], change: Change | None = None) -> list[Finding]:
    """Compare each configuration that merges with the block-wise one of the same method and budget.

    Args:
        change: Compares accuracies; None: by the decisions that run folders hold.

    Returns:
        One finding for each configuration that has a block-wise counterpart on the same base units.
    """
    compare = change or _by_folders()
    found = []
    for panel in shown:
        for series in panel.series:
            baseline = baseline_of(panel, series)
            if baseline is not None:
                found.append(_finding(panel, baseline, series, compare))
    return found


def pairs(baseline: Series, series: Series) -> list[tuple[Run, Run]]:
    """The runs of two configurations that have a seed in common, each seed once."""
    return [(baseline.by_seed[seed], run) for seed, run in series.by_seed.items() if seed in baseline.by_seed]


def compared(baseline: Series, series: Series) -> tuple[list[Run], list[Run]]:
    """The runs of two configurations that compare: those with common seeds, or all where there is none."""
    found = pairs(baseline, series)
    if not found:
        return list(baseline.by_seed.values()), list(series.by_seed.values())
    return [before for before, _ in found], [after for _, after in found]


def _by_folders() -> Change:
    """Compares by the decisions that run folders hold, each of which is read once."""
    known: dict[Path, decisions.Decisions | None] = {}

    def decided(run: Run) -> decisions.Decisions | None:
        if run.path not in known:
            try:
                known[run.path] = decisions.read_decisions(run) if run.detailed else None
            except DataError:  # a table needs none: the page, which does, names what is broken
                known[run.path] = None
        return known[run.path]

    return partial(decisions.between, decided=decided)


def _finding(panel: Panel, baseline: Series, series: Series, change: Change) -> Finding:
    common = pairs(baseline, series)
    control = control_of(panel, series)
    measures = {key: _delta(baseline, series, metrics.BY_KEY[key].value) for key in MEASURES}
    return Finding(
        panel=panel,
        baseline=baseline,
        series=series,
        top1=_accuracy(baseline, series, change),
        measures={key: delta for key, delta in measures.items() if delta is not None},
        merges=_merges(common or [(baseline.first, told_by(series.runs))]),
        control=control,
        against_control=_accuracy(control, series, change) if control else None,
    )


def _delta(baseline: Series, series: Series, measure: Callable[[Run], float | None]) -> Delta | None:
    before, after = (
        {
            seed: value
            for seed, run in one.by_seed.items()
            if (value := measure(run)) is not None and math.isfinite(value)
        }
        for one in (baseline, series)
    )
    common = before.keys() & after.keys()
    if common:  # both means over the same seeds
        before, after = ({seed: values[seed] for seed in common} for values in (before, after))
    if not before or not after:
        return None
    return Delta(before=fmean(before.values()), after=fmean(after.values()), seeds=len(common))


def _accuracy(baseline: Series, series: Series, change: Change) -> Delta | None:
    """The mean over the seeds; its error is that of one of them, because they share their images."""
    common = pairs(baseline, series)
    known = [
        (before.quantized.top1, after.quantized.top1, found)
        for before, after in common
        if before.quantized and after.quantized and (found := change(before, after)) is not None
    ]
    if not common:
        return _unpaired(baseline, series)
    if not known:
        return None
    paired = all(found["paired"] for _, _, found in known)
    # Where decisions were kept of some seeds only, the larger errors of the others stand for all.
    errors = [found["standard_error"] for _, _, found in known if paired or not found["paired"]]
    return Delta(
        before=fmean(before for before, _, _ in known),
        after=fmean(after for _, after, _ in known),
        error=fmean(errors),
        paired=paired,
        images=known[0][2]["images"],
        seeds=len(known),
    )


def _unpaired(baseline: Series, series: Series) -> Delta | None:
    """Of configurations without a common seed: the means of all, where all saw the same images."""
    both = [[run for run in runs if run.quantized] for runs in compared(baseline, series)]
    sets = {run.evaluated_on for runs in both for run in runs}
    if not all(both) or len(sets) > 1:
        return None
    before, after = (fmean(run.quantized.top1 for run in runs if run.quantized) for runs in both)
    images = sets.pop()[1]
    error = decisions.unpaired(before, after, images)["standard_error"] if images else None
    return Delta(before=before, after=after, error=error, images=images)


def _merges(common: Sequence[tuple[Run, Run]]) -> tuple[Merged, ...]:
    groups = [after.merged for _, after in common if after.merged]
    if not groups:
        return ()
    schedule = max(groups, key=groups.count)
    alike = [pair for pair in common if pair[1].merged == schedule]
    before, after = (unit_errors(runs) for runs in zip(*alike, strict=True))
    relative = [None if math.isnan(value) else value for value in against_block(after, before)]
    place = {name: i for i, name in enumerate(alike[0][0].unit_names)}
    return tuple(
        Merged(
            units=group,
            change=relative[place[group[-1]]],
            seconds=_extra_seconds(alike, group),
        )
        for group in schedule
    )


def _extra_seconds(common: Sequence[tuple[Run, Run]], group: Sequence[str]) -> float | None:
    spent = [
        joint - alone
        for before, after in common
        if (joint := _seconds(after, [group_name(group)])) is not None
        and (alone := _seconds(before, group)) is not None
    ]
    return fmean(spent) if spent else None


def _seconds(run: Run, groups: Sequence[str]) -> float | None:
    by_group: dict[str, float] = {}
    for one in run.group_results:
        if one.seconds is not None:
            by_group[one.name] = by_group.get(one.name, 0.0) + one.seconds
    return sum(by_group[name] for name in groups) if all(name in by_group for name in groups) else None
