"""The ablation figures: the measures of every configuration, and against the number of merged pairs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mrecg.report.compare import BASELINE, Panel, merge_count
from mrecg.report.figures.axes import legend_above, text_width
from mrecg.report.figures.comparison import shared
from mrecg.report.figures.heat import row_names
from mrecg.report.figures.measures import Measure, measures_of, scale_axis
from mrecg.report.figures.style import SMALL, SOFT, TEXT, TWO_COLUMNS, line_style
from mrecg.report.labels import SETTINGS, known_name
from mrecg.report.palette import Look, look_of
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NARROWEST = 1.0
"""Width of the axes of a measure, inches, at least; more measures than have room take several rows."""


@dataclass(frozen=True, kw_only=True)
class CountLine:
    """Runs of the same settings that differ in how many pairs they merge.

    Attributes:
        label: What the names of its configurations share.
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
    labels: dict[tuple[object, ...], list[str]] = {}
    for series, run in [(one, run) for one in panel.series for run in one.runs]:
        count = merge_count(run)
        if count is not None:
            lines.setdefault(_settings(run), {}).setdefault(count, []).append(run)
            labels.setdefault(_settings(run), []).extend([series.label] if run.merged else [])
    lines = {key: counts for key, counts in lines.items() if len(counts) > 1}
    for run in (run for series in panel.series for run in series.runs if run.granularity == BASELINE):
        for key, counts in lines.items():
            if _settings(run)[:1] + _settings(run)[2:] == key[:1] + key[2:]:
                counts.setdefault(0, []).append(run)
    firsts = [next(iter(counts.values()))[0] for counts in lines.values()]
    names = [shared(labels[key]) if labels[key] else "" for key in lines]
    return [
        CountLine(
            label=name if name and names.count(name) == 1 else _label(first, firsts),
            method=first.method,
            planner=first.planner,
            by_count={count: tuple(counts[count]) for count in sorted(counts)},
        )
        for name, first, counts in zip(names, firsts, lines.values(), strict=True)
    ]


def compares_configurations(panel: Panel) -> bool:
    """Whether runs of a panel differ in method, granularity or planner."""
    return len({(s.first.method, s.first.granularity, s.first.planner) for s in panel.series}) > 1


def counts_size(lines: Sequence[CountLine], width: float | None) -> tuple[float, float]:
    """Choose the size of the figure against the number of merges.

    Args:
        lines: What it shows.
        width: Inches; None: two columns.

    Returns:
        Width and height, inches, without the legend.
    """
    wide = width or TWO_COLUMNS
    rows = _grid(len(measures_of(_runs(lines))), wide)[0]
    return wide, 1.4 * rows + 0.15


def draw_counts(figure: "Figure", lines: Sequence[CountLine], rule: str, *, inches: float) -> int:
    """Draw the measures against the number of merged pairs.

    Args:
        figure: Where to.
        lines: What to draw.
        rule: What the hue means, as of `colour_rule`.
        inches: Width of the figure.

    Returns:
        Rows of the legend; none for one line.
    """
    runs = _runs(lines)
    shown = measures_of(runs)
    counts = sorted({count for line in lines for count in line.by_count})
    handles: list[Line2D] = []
    rows, columns = _grid(len(shown), inches)
    room = inches / columns - 0.4
    for axes, measure in zip(_axes(figure, len(shown), rows, columns), shown, strict=True):
        handles = []
        seen: dict[tuple[str, str], int] = {}
        for row, line in enumerate(lines):
            variant = seen.get((line.method, line.planner), 0)
            seen[line.method, line.planner] = variant + 1
            look = look_of(line.method, line.planner, rule=rule, variant=variant)
            # Lines stand a little beside each other, so that their spreads do not cover one another.
            shift = 0.1 * (row - (len(lines) - 1) / 2) * min(1.0, 6 / len(lines))
            handles += _count_line(axes, line, measure, shift, line_style(look))
        every = math.ceil(len(counts) * 1.6 * text_width(str(counts[-1])) / room)
        axes.set_xticks(counts[::every])
        axes.set_xlim(counts[0] - 0.4, counts[-1] + 0.4)
        axes.set_xlabel("merged pairs")
        axes.set_title(scale_axis(axes, measure, measure.values(runs), along="y"), loc="left", pad=3)
    labels = [line.label for line in lines]
    return legend_above(figure, handles, labels) if len(lines) > 1 else 0


def _count_line(
    axes: "Axes", line: CountLine, measure: Measure, shift: float, style: dict[str, Any]
) -> "list[Line2D]":
    at = [(c, v) for c, same in line.by_count.items() if (v := measure.values(same))]
    xs, means = [c + shift for c, _ in at], [fmean(v) for _, v in at]
    spread = [[m - min(v) for m, (_, v) in zip(means, at, strict=True)]]
    spread.append([max(v) - m for m, (_, v) in zip(means, at, strict=True)])
    if any(map(any, spread)):
        whisker: dict[str, Any] = {"elinewidth": 0.7, "capsize": 1.6, "capthick": 0.7}
        axes.errorbar(xs, means, spread, fmt="none", ecolor=style["color"], **whisker)
    return axes.plot(xs, means, zorder=4, **style)


def configurations_size(panel: Panel, width: float | None) -> tuple[float, float]:
    """Choose the size of the figure of all configurations.

    Args:
        panel: What it shows.
        width: Inches; None: two columns.

    Returns:
        Width and height, inches.
    """
    wide = width or TWO_COLUMNS
    names = row_names([series.label for series in panel.series], inches=wide)
    rows = _grid(len(measures_of(_all(panel))), wide - _names_width(names))[0]
    line = 0.25 if any("\n" in name for name in names) else 0.17
    return wide, rows * (0.5 + line * len(names)) + 0.1


def draw_configurations(figure: "Figure", panel: Panel, looks: Mapping[str, Look], *, inches: float) -> None:
    """Draw the measures of every configuration: mean, and a line from the least to the largest seed.

    Args:
        figure: Where to.
        panel: What to draw.
        looks: By the label of the series.
        inches: Width of the figure.
    """
    shown = measures_of(_all(panel))
    names = row_names([series.label for series in panel.series], inches=inches)
    rows, columns = _grid(len(shown), inches - _names_width(names))
    for i, (axes, measure) in enumerate(zip(_axes(figure, len(shown), rows, columns), shown, strict=True)):
        references = {v for series in panel.series if (v := measure.reference(series.first)) is not None}
        values = [*measure.values(_all(panel)), *references]
        axes.set_xlabel(scale_axis(axes, measure, values, along="x", margin=0.12))
        for row, series in enumerate(panel.series):
            own = measure.values(series.runs)
            if own:
                text = measure.written(fmean(own), beside=values)
                _dot(axes, row, own, line_style(looks[series.label]), text)
        for value in references:
            axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (1, 1.3)), zorder=1)
            at: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(
                "FP", (value, 1.0), xytext=(0, 1), ha="center", va="bottom", color=SOFT, size=SMALL, **at
            )
        axes.grid(visible=True, axis="x")
        axes.grid(visible=True, axis="y", linewidth=0.3)
        axes.tick_params(axis="y", length=0, labelsize=TEXT)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(names)), names if i % columns == 0 else [""] * len(names), linespacing=0.95)
        axes.set_ylim(len(names) - 0.4, -0.6)


def _dot(axes: "Axes", row: int, values: Sequence[float], style: dict[str, Any], text: str) -> None:
    """Draw the seeds and their mean, and write it within the axes, on the side that has more room."""
    colour = style["color"]
    axes.plot([min(values), max(values)], [row, row], color=colour, linewidth=0.9, zorder=2)
    axes.plot(values, [row] * len(values), "|", color=colour, markersize=4, markeredgewidth=0.7, zorder=2)
    mark = {**style, "linestyle": "none", "markersize": 4.6, "clip_on": False}
    axes.plot([fmean(values)], [row], zorder=4, **mark)
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    left, right = (float(to_axes((value, row))[0]) for value in (min(values), max(values)))
    after = 1 - right >= left
    axes.annotate(
        text,
        (max(values) if after else min(values), row),
        xytext=(4 if after else -4, 0),
        textcoords="offset points",
        ha="left" if after else "right",
        va="center_baseline",
        fontsize=SMALL,
        zorder=5,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )


def _grid(count: int, room: float) -> tuple[int, int]:
    """Rows and columns of the axes of some measures, as many columns as have room."""
    rows = math.ceil(count / max(1, int(room / NARROWEST)))
    return rows, math.ceil(count / rows)


def _axes(figure: "Figure", count: int, rows: int, columns: int) -> "list[Axes]":
    grid = figure.add_gridspec(rows, columns)
    return [figure.add_subplot(grid[i // columns, i % columns]) for i in range(count)]


def _names_width(names: Sequence[str]) -> float:
    return max(text_width(line, size=TEXT) for name in names for line in name.split("\n"))


def _runs(lines: Sequence[CountLine]) -> list[Run]:
    return [run for line in lines for same in line.by_count.values() for run in same]


def _all(panel: Panel) -> list[Run]:
    return [run for series in panel.series for run in series.runs]


_FIELDS: tuple[Callable[[Run], str], ...] = (
    *SETTINGS,
    lambda run: ", ".join(
        f"{key.partition('.')[2]} {value}"
        for key, value in sorted(run.options.items())
        if not key.startswith("planner.")
    ),
)
"""What two lines of one method and planner can differ in, and how a label says it."""


def _settings(run: Run) -> tuple[object, ...]:
    return (run.method, run.planner, *(say(run) for say in _FIELDS))


def _label(run: Run, rivals: Sequence[Run]) -> str:
    differing = [say for say in _FIELDS if len({say(rival) for rival in rivals}) > 1]
    said = [say(run) for say in differing]
    return ", ".join([f"{known_name(run)}, by {run.planner}", *filter(None, said)])
