"""Which runs compare with which: seeds of one configuration, configurations of one network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from mrecg.config.schema import MERGING
from mrecg.report.labels import SETTINGS, open_count, series_labels
from mrecg.runs import metrics
from mrecg.runs.names import METHOD_NAMES, can_merge
from mrecg.runs.records import Run

METHODS = tuple(METHOD_NAMES)
BASELINE = "block"
"""The granularity that merges nothing by its name; a plan without merges is block-wise whatever its is."""
CONTROL_TIME = 0.5
"""Part of a merged run's time from which on a longer block-wise run is its control; likewise the part of that
one's time that the merged run takes at least. Wide, because times are those of a machine that may be busy."""
GRANULARITIES = ("layer", BASELINE, *MERGING)


@dataclass(frozen=True, kw_only=True)
class Series:
    """The runs of one configuration; they differ in the seed alone, or are one that was repeated.

    Attributes:
        label: Short name, unambiguous within the panel.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return self.runs[0]

    @cached_property
    def by_seed(self) -> dict[int, Run]:
        """One run of each seed: of repeated ones the last in table order, of dated folders the newest."""
        return {run.seed: run for run in self.runs}

    @property
    def merging(self) -> bool:
        """Whether units were optimised jointly, of any seed; else it is block-wise."""
        return can_merge(self.first.method) and any(run.merged for run in self.runs)

    @property
    def seconds(self) -> float | None:
        """Mean time of all stages; None where no run recorded it."""
        known = [run.total_seconds for run in self.runs if run.timing_s]
        return sum(known) / len(known) if known else None


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
    def widths(self) -> str:
        """Their bit widths; of layers whose widths a budget chose only where there are no others."""
        return _typical([series.first for series in self.series]).widths

    @cached_property
    def block_wise(self) -> dict[tuple[object, ...], list[Series]]:
        """Block-wise configurations by method and budget: of thousands none is searched for."""
        return self._block_wise(steps=True)

    @cached_property
    def block_wise_any_steps(self) -> dict[tuple[object, ...], list[Series]]:
        """Likewise, whatever their steps."""
        return self._block_wise(steps=False)

    def _block_wise(self, *, steps: bool) -> dict[tuple[object, ...], list[Series]]:
        found: dict[tuple[object, ...], list[Series]] = {}
        for series in self.series:
            if not series.merging:
                found.setdefault(_budget(series.first, steps=steps), []).append(series)
        return found


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
        *_place(METHODS, run.method),
        *_place(GRANULARITIES, run.granularity),
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
    titles = [_title(_typical([runs[0] for runs in series.values()])) for series in by_panel.values()]
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
                    for label, seeds in zip(
                        series_labels([told_by(m) for m in members]), members, strict=True
                    )
                ),
            )
        )
    return found


def baseline_of(panel: Panel, series: Series) -> Series | None:
    """Find the block-wise configuration of the same method and budget.

    Returns:
        That with most seeds in common, and of several the one that is called so; None where there is none, or
        this one merges nothing itself.
    """
    if not series.merging:
        return None
    return max(
        panel.block_wise.get(_budget(series.first), ()),
        key=lambda one: (len(series.by_seed.keys() & one.by_seed), one.first.granularity == BASELINE),
        default=None,
    )


def control_of(panel: Panel, series: Series) -> Series | None:
    """Find the block-wise configuration that was given about as much time as a merged one, by more steps.

    Returns:
        Of those whose time is its own but for the factor `CONTROL_TIME`, up or down, the one that is closest
        to it; None where there is none, or this one merges nothing itself.
    """
    time = series.seconds
    if not series.merging or time is None:
        return None
    longer = [
        (one.seconds, one)
        for one in panel.block_wise_any_steps.get(_budget(series.first, steps=False), ())
        if one.seconds is not None
        and CONTROL_TIME * time <= one.seconds <= time / CONTROL_TIME
        and one.first.steps > series.first.steps
        and one.first.device == series.first.device
    ]
    return min(longer, key=lambda pair: abs(pair[0] - time))[1] if longer else None


def told_by(seeds: Sequence[Run]) -> Run:
    """The run that names a configuration: of a planner that decides for each seed again one that merges."""
    return next((run for run in seeds if run.merged), seeds[0])


def all_but_merges(run: Run) -> tuple[object, ...]:
    """What runs share that are a sequence: they differ in the number of merges (and the seed) alone."""
    options = {key: value for key, value in run.options.items() if key != "planner.merge_count"}
    return (run.method, run.planner, *(say(run) for say in SETTINGS), *sorted(options.items()))


def unit_errors(runs: Sequence[Run], take: Callable[[Sequence[float]], float] = fmean) -> list[float]:
    """The relative error of some runs after each unit.

    Args:
        runs: Of the same units.
        take: What of their finite errors is given: the mean, or the least or the largest.

    Returns:
        One a unit, in network order; not a number where none is finite.
    """
    columns = zip(*(run.errors for run in runs), strict=True)
    finite = [[float(value) for value in column if math.isfinite(value)] for column in columns]
    return [take(column) if column else math.nan for column in finite]


def rank(series: Series) -> tuple[float, float]:
    """Order of configurations by worth: mean top-1, and where that is not known the error into the head."""
    accuracies = [value for run in series.runs if (value := top1(run)) is not None]
    head = metrics.BY_KEY["head_error"].value
    errors = [value for run in series.runs if (value := head(run)) is not None and math.isfinite(value)]
    return (fmean(accuracies) if accuracies else -1.0, -fmean(errors) if errors else -math.inf)


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


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)


def _budget(run: Run, *, steps: bool = True) -> tuple[object, ...]:
    options = sorted(item for item in run.options.items() if not item[0].startswith("planner."))
    data = (run.steps if steps else 0, run.batch_size, run.calibration_images)
    return (run.method, run.stem_output, run.precision, *data, tuple(options))


def _configuration(run: Run) -> tuple[object, ...]:
    given = run.groups if run.granularity == "fixed" or run.planner == "published" else ()
    count = None if open_count(run) else run.merge_count
    options = tuple(sorted(run.options.items()))
    return (*_budget(run), run.granularity, run.planner, count, run.steps_per, given, options)


def _typical(runs: Sequence[Run]) -> Run:
    """The run whose bit widths stand for those of all: no budget has chosen them, if there is such a run."""
    return next((run for run in runs if "bits.budget" not in run.options), runs[0])


def _title(run: Run) -> str:
    return f"{run.model} on {run.data}, {run.widths}"
