"""The oscillation figure: the error along the units, with and without merging, and what merging changes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrecg.report.compare import BASELINE, Series, rank, unit_errors
from mrecg.report.figures.axes import MARGIN, NARROW, legend_above, name_height, unit_axis, value_axis
from mrecg.report.figures.comparison import Comparison, against, told_apart
from mrecg.report.figures.heat import ROW, TWO_LINES, Cells, draw_heat, outline, row_names
from mrecg.report.figures.pair import bars, brackets, change_words, shaded
from mrecg.report.figures.style import (
    BAND,
    INK,
    ONE_COLUMN,
    SOFT,
    TWO_COLUMNS,
    line_style,
)
from mrecg.report.palette import Look, look_of, ramp

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ERROR = "relative error"
LOG_LINES = 6.0
"""A logarithmic axis where the peaks of the lines differ by more than this."""
MOST_MARKERS = 48
"""Markers on a line."""
CURVES, BARS = 1.5, 1.0
"""Heights of the two parts, inches."""


def oscillation_size(comparison: Comparison, width: float | None = None) -> tuple[float, float]:
    """Choose the size of a figure.

    Args:
        comparison: What it shows.
        width: Inches; None: by the number of units.

    Returns:
        Width and height, inches, without the legend.
    """
    units = comparison.panel.units
    wide = width or (ONE_COLUMN if len(units) <= NARROW else TWO_COLUMNS)
    rows = _map_height(comparison, wide)
    height = {"pair": CURVES + BARS, "sweep": CURVES + rows, "lines": CURVES + 0.2, "map": rows}[
        comparison.form
    ]
    return wide, height + name_height(units, inches=wide - MARGIN)


def draw_oscillation(
    figure: "Figure | SubFigure",
    comparison: Comparison,
    looks: Mapping[str, Look],
    *,
    inches: float,
    title: str = "",
) -> int:
    """Draw a comparison: the errors above, below them the change against the block-wise configuration.

    Args:
        figure: Where to.
        comparison: What to draw.
        looks: By the label of the series.
        inches: Width of the figure.
        title: Above the legend; empty for none.

    Returns:
        Rows of the legend.
    """
    styles = _styles(comparison, looks)
    room = inches - MARGIN
    if comparison.form == "map":
        bottom = figure.subplots()
        cells = _errors_as_map(comparison, inches=inches)
        room = draw_heat(bottom, cells, inches=inches)
        handles: list[Artist] = [outline()] if any(cells.merged) else []
        labels = ["merged"] * len(handles)
    elif comparison.form == "lines":
        bottom = figure.subplots()
        handles, labels = _curves(bottom, comparison, styles)
    else:
        heights = [CURVES, BARS if comparison.form == "pair" else _map_height(comparison, inches)]
        top, bottom = figure.subplots(2, sharex=True, height_ratios=heights)
        handles, labels = _curves(top, comparison, styles)
        if comparison.form == "pair":
            bars(bottom, comparison, inches=inches)
            figure.align_ylabels([top, bottom])
        else:
            cells = _changes_as_map(comparison, styles, inches=inches)
            room = draw_heat(bottom, cells, inches=inches)
            bottom.set_ylabel("merged pairs" if comparison.ordinal else "")
        top.tick_params(axis="x", bottom=False, labelbottom=False)
    unit_axis(bottom, comparison.panel.units, inches=room)
    return legend_above(figure, handles, labels, title=title)


def _styles(comparison: Comparison, looks: Mapping[str, Look]) -> dict[str, dict[str, Any]]:
    """How each configuration is drawn: the baseline in grey, a sequence in one hue."""
    styles = {series.label: line_style(looks[series.label]) for series in comparison.panel.series}
    if comparison.baseline:
        block = line_style(look_of("", BASELINE, rule="kind"))
        styles[comparison.baseline.label] = block | {"color": INK, "markeredgecolor": INK}
    if comparison.control:
        quiet = {"color": SOFT, "marker": "none", "linestyle": (0, (1, 1.3)), "linewidth": 0.9}
        styles[comparison.control.label] = quiet
    if comparison.ordinal:
        for series, colour in zip(comparison.others, ramp(len(comparison.others)), strict=True):
            own = {"color": colour, "markerfacecolor": colour, "markeredgecolor": "white", "markersize": 3.2}
            styles[series.label] = {"linestyle": "-", "marker": "o", "markeredgewidth": 0.4, **own}
    return styles


def _map_height(comparison: Comparison, inches: float) -> float:
    names = row_names([series.label for series in comparison.others], inches=inches)
    return 0.3 + len(names) * (TWO_LINES if any("\n" in name for name in names) else ROW)


def _curves(
    axes: "Axes", comparison: Comparison, styles: Mapping[str, Mapping[str, Any]]
) -> "tuple[list[Artist], list[str]]":
    """The errors as lines, and what is merged as bands; returns the legend."""
    from matplotlib.patches import Patch

    baseline = comparison.baseline
    drawn = _lines(comparison)
    handles: list[Artist] = []
    for series in drawn:
        style, places = styles[series.label], range(len(comparison.panel.units))
        # The baseline lies below what is compared with it.
        order = 3.0 if series is baseline else 4.0
        if len(series.runs) > 1:
            low, high = (unit_errors(series.runs, take) for take in (min, max))
            axes.fill_between(
                places, low, high, color=style["color"], alpha=0.16, linewidth=0, zorder=order - 1
            )
        every = math.ceil(len(places) / MOST_MARKERS)
        handles += axes.plot(places, unit_errors(series.runs), zorder=order, markevery=every, **style)
    values = [v for series in drawn for take in (min, max) for v in unit_errors(series.runs, take)]
    value_axis(axes, values, log=_prefers_log(drawn), headroom=0.06 if comparison.form == "sweep" else 0.14)
    axes.set_ylabel(ERROR)
    labels = [series.label for series in drawn]
    if comparison.ordinal and len(drawn) > 4:
        # The rows below name the others; two ends say what the hue means.
        middle = range(2, len(drawn) - 1) if baseline else range(1, len(drawn) - 1)
        handles = [handle for i, handle in enumerate(handles) if i not in middle]
        labels = [*labels[: middle.start], told_apart(labels[middle.start - 1 :])[-1]]
    if baseline and len(drawn) - bool(comparison.control) == 2:
        shades = shaded(axes, unit_errors(baseline.runs), unit_errors(drawn[1].runs))
        handles += [area for _, area in shades]
        labels += [word for word, _ in shades]
    mixed = [series for series in comparison.others if any(run.merged for run in series.runs)]
    if len(mixed) == 1 and brackets(axes, comparison.panel.units, mixed[0]):
        handles.append(Patch(facecolor=BAND, edgecolor=SOFT, linewidth=0.5))
        labels.append("merged")
    elif comparison.form == "sweep":
        handles.append(outline())
        labels.append("merged")
    return handles, labels


def _lines(comparison: Comparison) -> list[Series]:
    """The configurations that get a line: of many that are no sequence the best one, beside the baseline."""
    if comparison.form != "sweep" or comparison.ordinal or len(comparison.others) < 4:
        return list(comparison.panel.series)
    return [comparison.panel.series[0], best(comparison)]


def best(comparison: Comparison) -> Series:
    """Of what is compared, that that is first by `rank`."""
    return max(comparison.others, key=rank)


def _changes_as_map(
    comparison: Comparison, styles: Mapping[str, Mapping[str, Any]], *, inches: float
) -> Cells:
    """The change of the error as a heat map: a row for each configuration."""
    baseline, *others = comparison.panel.series
    names = row_names([series.label for series in others], inches=inches)
    drawn = _lines(comparison)
    return Cells(
        values=[[value for value, _, _ in against(baseline, series)] for series in others],
        names=[str(series.first.merge_count) for series in others] if comparison.ordinal else names,
        merged=[_places(comparison, series) for series in others],
        styles=[styles[series.label] if series in drawn else None for series in others],
        words=change_words(baseline),
        signed=True,
    )


def _errors_as_map(comparison: Comparison, *, inches: float) -> Cells:
    """The errors of many configurations as a heat map."""
    return Cells(
        values=[unit_errors(series.runs) for series in comparison.others],
        names=row_names([series.label for series in comparison.others], inches=inches),
        merged=[_places(comparison, series) for series in comparison.others],
        styles=[None] * len(comparison.others),
        words=ERROR,
        signed=False,
    )


def _places(comparison: Comparison, series: Series) -> list[tuple[int, int]]:
    """First and last unit of what all seeds of a configuration merge."""
    place = {name: i for i, name in enumerate(comparison.panel.units)}
    groups = Counter(group for run in series.runs for group in run.merged)
    agreed = [group for group, times in groups.items() if times == len(series.runs)]
    return [(place[group[0]], place[group[-1]]) for group in agreed]


def _prefers_log(drawn: Sequence[Series]) -> bool:
    """Whether a linear axis would press some of the lines flat."""
    peaks = [max((v for v in unit_errors(series.runs) if math.isfinite(v)), default=0.0) for series in drawn]
    peaks = [value for value in peaks if value > 0]
    return bool(peaks) and max(peaks) > LOG_LINES * min(peaks)
