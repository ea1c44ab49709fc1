"""The ablation figures: accuracy and oscillation against the merged pairs, and of every configuration."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mrecg.report.compare import BASELINE, Panel, index, merge_count, peak, top1
from mrecg.report.figures.axes import legend_above
from mrecg.report.figures.style import SMALL, SOFT, TEXT, TWO_COLUMNS, line_style
from mrecg.report.labels import SETTINGS
from mrecg.report.palette import Look, look_of
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


MAX_COUNTS = 12
"""Numbers under the axis of the merged pairs, at most."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is compared.

    Attributes:
        title: On the axis.
        take: The value of a run; None where it has none.
        decimals: Of a mean that is written out.
        percent: Whether it is a fraction that is shown in per cent.
        reference: The value in full precision; None where that says nothing.
    """

    title: str
    take: Callable[[Run], float | None]
    decimals: int = 2
    percent: bool = False
    reference: Callable[[Run], float | None] = lambda run: None

    def shown(self, value: float) -> float:
        """The value as it stands on the axis."""
        return 100 * value if self.percent else value


MEASURES = (
    Measure(
        title="top-1 (%)",
        take=top1,
        decimals=1,
        percent=True,
        reference=lambda run: run.fp.top1 if run.fp else None,
    ),
    Measure(title="oscillation index", take=index),
    Measure(title="peak of the error", take=peak, decimals=3),
)


@dataclass(frozen=True, kw_only=True)
class CountLine:
    """Runs of the same settings that differ in how many pairs they merge.

    Attributes:
        label: Method, planner, and what else tells it from the other lines.
        method: Name of the method.
        planner: Name of the planner.
        by_count: The runs by their number of merges; block-wise ones of the same settings stand at 0.
    """

    label: str
    method: str
    planner: str
    by_count: Mapping[int, tuple[Run, ...]]


def count_lines(panel: Panel) -> list[CountLine]:
    """Find what can be drawn against the number of merges.

    Returns:
        One line for each method, planner and budget whose mixed runs differ in their merges; empty where none
        does.
    """
    lines: dict[tuple[object, ...], dict[int, list[Run]]] = {}
    for run in (run for series in panel.series for run in series.runs):
        count = merge_count(run)
        if count is not None:
            lines.setdefault(_settings(run), {}).setdefault(count, []).append(run)
    lines = {key: counts for key, counts in lines.items() if len(counts) > 1}
    for run in (run for series in panel.series for run in series.runs if run.granularity == BASELINE):
        for key, counts in lines.items():
            if _settings(run)[:1] + _settings(run)[2:] == key[:1] + key[2:]:
                counts.setdefault(0, []).append(run)
    firsts = [next(iter(counts.values()))[0] for counts in lines.values()]
    return [
        CountLine(
            label=_label(first, firsts),
            method=first.method,
            planner=first.planner,
            by_count={count: tuple(counts[count]) for count in sorted(counts)},
        )
        for first, counts in zip(firsts, lines.values(), strict=True)
    ]


def compares_configurations(panel: Panel) -> bool:
    """Whether runs of a panel differ in method, granularity or planner."""
    return len({(s.first.method, s.first.granularity, s.first.planner) for s in panel.series}) > 1


def measures_of(runs: Sequence[Run]) -> list[Measure]:
    """The measures that some run has: without evaluation images there is no accuracy."""
    return [measure for measure in MEASURES if any(measure.take(run) is not None for run in runs)]


def draw_counts(figure: "Figure", lines: Sequence[CountLine], rule: str) -> int:
    """Draw the measures against the number of merged pairs.

    Args:
        figure: Where to.
        lines: What to draw.
        rule: What the hue means, as of `colour_rule`.

    Returns:
        Rows of the legend.
    """
    runs = [run for line in lines for same in line.by_count.values() for run in same]
    shown = measures_of(runs)
    counts = sorted({count for line in lines for count in line.by_count})
    handles: list[Line2D] = []
    for axes, measure in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        handles = []
        seen: dict[tuple[str, str], int] = {}
        for row, line in enumerate(lines):
            variant = seen.get((line.method, line.planner), 0)
            seen[line.method, line.planner] = variant + 1
            look = look_of(line.method, line.planner, rule=rule, variant=variant)
            # Lines stand a little beside each other, so that their spreads do not cover one another.
            shift = 0.1 * (row - (len(lines) - 1) / 2) * min(1.0, 6 / len(lines))
            at = [(c, v) for c, same in line.by_count.items() if (v := _values(same, measure))]
            xs, means = [c + shift for c, _ in at], [fmean(v) for _, v in at]
            spread = [[m - min(v) for m, (_, v) in zip(means, at, strict=True)]]
            spread.append([max(v) - m for m, (_, v) in zip(means, at, strict=True)])
            style = line_style(look)
            if any(map(any, spread)):
                axes.errorbar(
                    xs,
                    means,
                    spread,
                    fmt="none",
                    ecolor=style["color"],
                    elinewidth=0.7,
                    capsize=1.6,
                    capthick=0.7,
                )
            handles += axes.plot(xs, means, zorder=4, **style)
        axes.set_xticks(counts[:: math.ceil(len(counts) / MAX_COUNTS)])
        axes.set_xlim(counts[0] - 0.4, counts[-1] + 0.4)
        axes.set_xlabel("merged pairs")
        axes.set_ylabel(measure.title)
        axes.margins(y=0.1)
    return legend_above(figure, handles, [line.label for line in lines])


def counts_size() -> tuple[float, float]:
    """Width and height of the figure against the number of merges, inches, without the legend."""
    return TWO_COLUMNS, 1.85


def configurations_size(panel: Panel) -> tuple[float, float]:
    """Choose the size of the figure of all configurations.

    Args:
        panel: What it shows.

    Returns:
        Width and height, inches.
    """
    return TWO_COLUMNS, 0.55 + 0.17 * len(panel.series)


def draw_configurations(figure: "Figure", panel: Panel, looks: Mapping[str, Look]) -> None:
    """Draw the measures of every configuration: mean, and a line from the least to the largest seed.

    Args:
        figure: Where to.
        panel: What to draw.
        looks: By the label of the series.
    """
    from matplotlib.ticker import MaxNLocator

    shown = measures_of([run for series in panel.series for run in series.runs])
    columns = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, measure in zip(columns, shown, strict=True):
        for row, series in enumerate(panel.series):
            values = _values(series.runs, measure)
            if values:
                _dot(axes, row, values, line_style(looks[series.label]))
                mean = f"{fmean(values):.{measure.decimals}f}"
                place = axes.get_yaxis_transform()
                axes.text(1.01, row, mean, transform=place, va="center", fontsize=SMALL)
        references = {measure.shown(v) for s in panel.series if (v := measure.reference(s.first)) is not None}
        for value in references:
            axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (1, 1.3)), zorder=1)
            axes.annotate(
                "FP",
                (value, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 1),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=SOFT,
            )
        axes.set_xlabel(measure.title)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=True, axis="y", linewidth=0.3)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="y", length=0, labelsize=TEXT)
        axes.spines["left"].set_visible(False)
    columns[0].set_yticks(range(len(panel.series)), [series.label for series in panel.series])
    columns[0].set_ylim(len(panel.series) - 0.5, -0.5)


def _dot(axes: "Axes", row: int, values: Sequence[float], style: dict[str, Any]) -> None:
    axes.plot([min(values), max(values)], [row, row], color=style["color"], linewidth=0.9, zorder=2)
    axes.plot(
        values, [row] * len(values), "|", color=style["color"], markersize=4, markeredgewidth=0.7, zorder=2
    )
    axes.plot([fmean(values)], [row], **{**style, "linestyle": "none", "markersize": 4.6}, zorder=4)


def _values(runs: Sequence[Run], measure: Measure) -> list[float]:
    return [measure.shown(value) for run in runs if (value := measure.take(run)) is not None]


_FIELDS: tuple[Callable[[Run], str], ...] = (
    *SETTINGS,
    lambda run: ", ".join(
        f"{key.partition('.')[2]} {value}" for key, value in sorted(run.options.items()) if not _planner(key)
    ),
)
"""What two lines of one method and planner can differ in, and how a label says it."""


def _planner(key: str) -> bool:
    return key.startswith("planner.")


def _settings(run: Run) -> tuple[object, ...]:
    return (run.method, run.planner, *(say(run) for say in _FIELDS))


def _label(run: Run, rivals: Sequence[Run]) -> str:
    differing = [say for say in _FIELDS if len({say(rival) for rival in rivals}) > 1]
    said = [say(run) for say in differing]
    return ", ".join([f"{run.method} · by {run.planner}", *filter(None, said)])
