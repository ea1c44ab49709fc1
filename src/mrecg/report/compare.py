"""Which runs compare with which: seeds of one configuration, configurations of one network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from mrecg.report.labels import open_count, series_labels
from mrecg.runs.records import Run

METHODS = ("rtn", "closed_form", "adaround", "brecq", "brecq_joint", "qdrop", "pd_quant", "genie_m")
BASELINE = "block"
"""The granularity that all others are compared with."""
MERGING = ("mixed", "fixed", "stage", "network")
"""Those that optimise several of its units jointly."""
GRANULARITIES = ("layer", BASELINE, *MERGING)


@dataclass(frozen=True, kw_only=True)
class Series:
    """The runs of one configuration; they differ in the seed alone.

    Attributes:
        label: Short name, unambiguous within the panel.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return self.runs[0]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What shares one pair of axes: the same network, images, bit widths and base units.

    Attributes:
        title: For example "resnet18 on imagenet, W2A4".
        units: Names of the base units in network order.
        series: The configurations.
    """

    title: str
    units: tuple[str, ...]
    series: tuple[Series, ...]

    @cached_property
    def block_wise(self) -> dict[tuple[object, ...], list[Series]]:
        """Block-wise configurations by method and budget: of thousands none is searched for."""
        found: dict[tuple[object, ...], list[Series]] = {}
        for series in self.series:
            if series.first.granularity == BASELINE:
                found.setdefault(_budget(series.first), []).append(series)
        return found


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A number of two configurations.

    Attributes:
        before: Mean of the first over the seeds that both have; over all of its own where they share none.
        after: Likewise of the second.
        change: The second less the first.
        low: Smallest change of a common seed; None where fewer than two are common.
        high: Largest, likewise.
    """

    before: float
    after: float
    change: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A configuration against the one that differs in its granularity alone.

    Attributes:
        panel: Title of the panel.
        baseline: The block-wise configuration.
        series: The other one.
        top1: Difference in top-1 accuracy; None without evaluation images.
        index: Difference in the oscillation index of the relative error.
        peak: Difference in the peak of the relative error.
        common_seeds: Number of seeds that both have.
    """

    panel: str
    baseline: Series
    series: Series
    top1: Delta | None
    index: Delta | None
    peak: Delta | None
    common_seeds: int


def sort_key(run: Run) -> tuple[object, ...]:
    """Order of runs in every table and legend.

    Returns:
        A key: runs that completed first; then by network, bits, method, granularity, merges, planner, seed.
    """
    return (
        not run.completed,
        run.model,
        run.data,
        -run.bits.weight,
        -run.bits.activation,
        *_rank(METHODS, run.method),
        *_rank(GRANULARITIES, run.granularity),
        run.merge_count,
        run.planner,
        run.steps,
        run.calibration_images,
        run.steps_per,
        run.stem_output,
        run.batch_size,
        run.precision,
        sorted(run.options.items()),
        run.seed,
        str(run.path),
    )


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Group the completed runs by what can share axes; panels and their series stand in table order."""
    by_panel: dict[tuple[object, ...], dict[tuple[object, ...], list[Run]]] = {}
    for run in sorted((run for run in runs if run.completed and run.units), key=sort_key):
        place = (run.model, run.data, run.bits.weight, run.bits.activation, run.unit_names)
        by_panel.setdefault(place, {}).setdefault(_configuration(run), []).append(run)
    titles = [_title(next(iter(series.values()))[0]) for series in by_panel.values()]
    found = []
    for title, configurations in zip(titles, by_panel.values(), strict=True):
        members = list(configurations.values())
        units = members[0][0].unit_names
        found.append(
            Panel(
                title=title if titles.count(title) == 1 else f"{title} ({len(units)} units)",
                units=units,
                series=tuple(
                    Series(label=label, runs=tuple(seeds))
                    for label, seeds in zip(series_labels([m[0] for m in members]), members, strict=True)
                ),
            )
        )
    return found


def findings(shown: Sequence[Panel]) -> list[Finding]:
    """Compare every merged granularity with the block-wise run of the same method and budget.

    Returns:
        One finding for each configuration that has a block-wise counterpart on the same base units.
    """
    found = []
    for panel in shown:
        for series in panel.series:
            baseline = baseline_of(panel, series)
            if baseline is not None and series.first.granularity in MERGING:
                found.append(_finding(panel, baseline, series))
    return found


def baseline_of(panel: Panel, series: Series) -> Series | None:
    """Find the block-wise configuration of the same method and budget.

    Returns:
        The other configuration; None where there is none, or it is this one.
    """
    same = panel.block_wise.get(_budget(series.first), ())
    return next((other for other in same if other is not series), None)


def top1(run: Run) -> float | None:
    """Top-1 accuracy after quantization, where it was evaluated."""
    return run.quantized.top1 if run.quantized else None


def index(run: Run) -> float | None:
    """Oscillation index of the relative error."""
    return _finite(run.oscillation.error_index) if run.oscillation else None


def peak(run: Run) -> float | None:
    """Peak of the relative error."""
    return _finite(run.oscillation.error_peak) if run.oscillation else None


def merge_count(run: Run) -> int | None:
    """Pairs that were asked for; None where the planner decided how many, or nothing was planned."""
    return None if run.granularity != "mixed" or open_count(run) else run.merge_count


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rank(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)


def _budget(run: Run) -> tuple[object, ...]:
    options = sorted(item for item in run.options.items() if not item[0].startswith("planner."))
    data = (run.steps, run.batch_size, run.calibration_images)
    return (run.method, run.stem_output, run.precision, *data, tuple(options))


def _configuration(run: Run) -> tuple[object, ...]:
    given = run.groups if run.granularity == "fixed" or run.planner == "published" else ()
    count = None if open_count(run) else run.merge_count
    options = tuple(sorted(run.options.items()))
    return (*_budget(run), run.granularity, run.planner, count, run.steps_per, given, options)


def _title(run: Run) -> str:
    return f"{run.model} on {run.data}, {run.widths}"


def _finding(panel: Panel, baseline: Series, series: Series) -> Finding:
    common = {run.seed for run in baseline.runs} & {run.seed for run in series.runs}
    return Finding(
        panel=panel.title,
        baseline=baseline,
        series=series,
        top1=_delta(baseline, series, top1),
        index=_delta(baseline, series, index),
        peak=_delta(baseline, series, peak),
        common_seeds=len(common),
    )


def _delta(baseline: Series, series: Series, measure: Callable[[Run], float | None]) -> Delta | None:
    before = {run.seed: value for run in baseline.runs if (value := measure(run)) is not None}
    after = {run.seed: value for run in series.runs if (value := measure(run)) is not None}
    if not before or not after:
        return None
    common = sorted(before.keys() & after.keys())
    if common:
        # Both means over the same seeds, so that they agree with the change.
        before, after = ({seed: values[seed] for seed in common} for values in (before, after))
    changes = [after[seed] - before[seed] for seed in common]
    mean_before, mean_after = fmean(before.values()), fmean(after.values())
    return Delta(
        before=mean_before,
        after=mean_after,
        change=mean_after - mean_before,
        low=min(changes) if len(changes) > 1 else None,
        high=max(changes) if len(changes) > 1 else None,
    )
