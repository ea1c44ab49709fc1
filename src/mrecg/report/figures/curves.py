"""The oscillation figure: relative error and loss along the base units, a line for each configuration."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from mrecg.report.compare import BASELINE, Panel, Series, peak, top1
from mrecg.report.figures.axes import legend_above, shortened, unit_axis, value_axis
from mrecg.report.figures.style import INK, ONE_COLUMN, SMALL, SOFT, TWO_COLUMNS, line_style
from mrecg.report.palette import COLOURS_LIGHT, Look, kind
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

MEASURES = {"error": "relative error", "loss": "reconstruction loss"}
"""What is drawn of each unit: the field of its record, and the words on the axis."""
MOST_LINES = 10
"""Configurations in one figure; of more the best of each method and kind are drawn."""
SPIKES = 3
"""Spikes that get a name, at most."""
SPIKE_HEIGHT = 0.12
"""Of the range of the curve: how far a unit must stand out from its neighbours to be called a spike."""
LOG_LINES, LOG_LOSSES = 6.0, 30.0
"""A logarithmic axis where the peaks of the lines differ by more than this; where losses do."""
MOST_MARKERS = 48
"""Markers on a line."""
ROW = 0.075
"""Height of a row of merged groups, inches."""


def readable(panel: Panel) -> Panel:
    """Choose lines that can be told apart.

    Args:
        panel: All configurations.

    Returns:
        The same where they are few; else of each method and kind, for example of its merge counts, the one
        with the highest top-1 accuracy, or with the lowest peak where none was evaluated.
    """
    if len(panel.series) <= MOST_LINES:
        return panel
    best: dict[tuple[str, str], tuple[tuple[float, float], Series]] = {}
    for series in panel.series:
        scores = [value for run in series.runs if (value := top1(run)) is not None]
        peaks = [value for run in series.runs if (value := peak(run)) is not None]
        rank = (fmean(scores) if scores else -1.0, -fmean(peaks) if peaks else -math.inf)
        key = (series.first.method, kind(series))
        if key not in best or rank > best[key][0]:
            best[key] = (rank, series)
    return replace(panel, series=tuple(series for _, series in best.values()))


def curves_size(panel: Panel) -> tuple[float, float]:
    """Choose the size of a figure.

    Args:
        panel: What it shows.

    Returns:
        Width and height, inches, without the legend.
    """
    narrow = len(panel.units) <= 14 and len(panel.series) <= 4
    longest = max(len(shortened(name)) for name in panel.units)
    names = min(0.9, 0.2 + 0.045 * longest)
    height = (1.45 if narrow else 1.75) + (0.95 if narrow else 1.2) + ROW * len(_merged(panel)) + names
    return (ONE_COLUMN if narrow else TWO_COLUMNS), height


def draw_curves(
    figure: "Figure | SubFigure", panel: Panel, looks: Mapping[str, Look], *, inches: float, title: str = ""
) -> int:
    """Draw the curves of a panel.

    Args:
        figure: Where to.
        panel: What to draw.
        looks: By the label of the series.
        inches: Width of the figure.
        title: Above the legend; empty for none.

    Returns:
        Rows of the legend.
    """
    merged = _merged(panel)
    rows = len(merged)
    ratios = [*([max(ROW * rows, 0.01)] if rows else []), 1.75, 1.2]
    drawn = list(figure.subplots(len(ratios), sharex=True, height_ratios=ratios))
    strip = drawn.pop(0) if rows else None
    top, bottom = drawn
    handles = [
        _line(axes, series, measure, looks[series.label])
        for axes, measure in ((top, "error"), (bottom, "loss"))
        for series in panel.series
    ][: len(panel.series)]
    for axes, measure in ((top, "error"), (bottom, "loss")):
        values = [v for series in panel.series for run in series.runs for v in values_of(run, measure)]
        value_axis(axes, values, log=prefers_log(panel, measure), headroom=0.16 if axes is top else 0.06)
        axes.set_ylabel(MEASURES[measure])
    if strip is not None:
        _strip(strip, panel, merged, looks)
        _shade((top, bottom), panel, merged)
    _name_spikes(top, panel, inches=inches)
    unit_axis(bottom, panel.units, inches=inches - 0.6)
    for axes in (strip, top):
        if axes is not None:
            axes.tick_params(axis="x", bottom=False, labelbottom=False)
    figure.align_ylabels([top, bottom])
    return legend_above(figure, handles, [series.label for series in panel.series], title=title)


def values_of(run: Run, measure: str) -> list[float]:
    """Take one measure of every unit; not a number where it was not finite."""
    return [float(getattr(unit, measure)) for unit in run.units]


def prefers_log(panel: Panel, measure: str) -> bool:
    """Whether a linear axis would press some of the lines flat.

    Args:
        panel: What is drawn.
        measure: "error" or "loss".

    Returns:
        True where the peaks of the lines differ much, and for losses also where those of the units do.
    """
    means = [_positive(_over_seeds(series, measure, fmean)) for series in panel.series]
    peaks = [max(values) for values in means if values]
    if not peaks:
        return False
    floor = min(v for values in means for v in values)
    return max(peaks) > LOG_LINES * min(peaks) or (measure == "loss" and max(peaks) > LOG_LOSSES * floor)


def _positive(values: Sequence[float]) -> list[float]:
    return [v for v in values if math.isfinite(v) and v > 0]


def _over_seeds(series: Series, measure: str, take: Callable[[Sequence[float]], float]) -> list[float]:
    columns = zip(*(values_of(run, measure) for run in series.runs), strict=True)
    finite = [[v for v in column if math.isfinite(v)] for column in columns]
    return [take(column) if column else math.nan for column in finite]


def _line(axes: "Axes", series: Series, measure: str, look: Look) -> "Line2D":
    units = range(len(series.first.units))
    # Baselines lie below what they are compared with.
    order = 3.0 if look.marker.endswith("-open") else 4.0
    if len(series.runs) > 1:
        low, high = (_over_seeds(series, measure, take) for take in (min, max))
        colour = COLOURS_LIGHT[look.colour_index]
        axes.fill_between(units, low, high, color=colour, alpha=0.16, linewidth=0, zorder=order - 2)
    every = math.ceil(len(units) / MOST_MARKERS)
    curve = _over_seeds(series, measure, fmean)
    (line,) = axes.plot(units, curve, zorder=order, markevery=every, **line_style(look))
    return line


def _merged(panel: Panel) -> list[Series]:
    return [series for series in panel.series if any(run.merged for run in series.runs)]


def _strip(axes: "Axes", panel: Panel, merged: Sequence[Series], looks: Mapping[str, Look]) -> None:
    """Bars over the units that a configuration optimises jointly; thin where only some of its seeds do."""
    place = {name: i for i, name in enumerate(panel.units)}
    for row, series in enumerate(merged):
        style = line_style(looks[series.label])
        for group, times in Counter(group for run in series.runs for group in run.merged).items():
            ends = [place[group[0]] - 0.3, place[group[-1]] + 0.3]
            thick = 3.0 if times == len(series.runs) else 1.0
            axes.plot(ends, [row, row], color=style["color"], linewidth=thick, solid_capstyle="butt")
        axes.plot(
            [-0.012],
            [row],
            transform=axes.get_yaxis_transform(),
            clip_on=False,
            **{**style, "linestyle": "none"},
        )
    axes.set_ylim(len(merged) - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("merged", rotation=0, ha="right", va="center", labelpad=9)


def _shade(both: Sequence["Axes"], panel: Panel, merged: Sequence[Series]) -> None:
    """Shade the merged units where all configurations agree on them; else the shades would mix."""
    schedules = {run.merged for series in merged for run in series.runs}
    for group in schedules.pop() if len(schedules) == 1 else ():
        first, last = panel.units.index(group[0]), panel.units.index(group[-1])
        for axes in both:
            axes.axvspan(first - 0.5, last + 0.5, color="#eef1f4", linewidth=0, zorder=0)


def _name_spikes(axes: "Axes", panel: Panel, *, inches: float) -> None:
    """Write the unit's name at the highest spikes of the runs without merges, where the names have room."""
    from matplotlib.transforms import offset_copy

    highest = [
        max([v for s in panel.series for v in _positive([run.units[i].error for run in s.runs])], default=0.0)
        for i in range(len(panel.units))
    ]
    above = offset_copy(axes.transData, fig=axes.get_figure(root=True), y=5.0, units="points")
    taken: list[int] = []
    for i in spikes(panel):
        half = 0.5 * len(shortened(panel.units[i])) * SMALL / 72 * 0.62 / (inches - 0.6) * len(panel.units)
        if len(taken) == SPIKES:
            break
        if any(abs(i - other) < 2 * half + 0.3 for other in taken):
            continue
        taken.append(i)
        near = range(max(0, math.ceil(i - half)), min(len(highest) - 1, math.floor(i + half)) + 1)
        axes.annotate(
            shortened(panel.units[i]),
            (i, highest[i]),
            (i, max(highest[j] for j in near)),
            textcoords=above,
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=INK,
            zorder=6,
            arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 0.5, "shrinkB": 2.5},
        )


def spikes(panel: Panel) -> list[int]:
    """Find the units where the error stands out from both neighbours.

    Returns:
        Their indices, the most prominent first; by the block-wise configurations where there are some. A
        spike below another line that has none there is left out: its name would stand at the wrong line.
    """
    block = [series for series in panel.series if series.first.granularity == BASELINE]
    heights: defaultdict[int, float] = defaultdict(float)
    curves = {series.label: _over_seeds(series, "error", fmean) for series in panel.series}
    for series in block or panel.series:
        curve = curves[series.label]
        span = max(_positive(curve), default=0.0) - min(_positive(curve), default=0.0)
        for i in range(1, len(curve) - 1):
            left, here, right = curve[i - 1 : i + 2]
            if here >= max(left, right) and span > 0:
                # A spike that all of them have comes before one of a single configuration.
                heights[i] += (here - 0.5 * (left + right)) / span / len(block or panel.series)
    named = []
    for i, height in sorted(heights.items(), key=lambda item: -item[1]):
        above = max((c for c in curves.values() if math.isfinite(c[i])), key=lambda curve: curve[i])
        if height >= SPIKE_HEIGHT and above[i] >= max(above[i - 1], above[i + 1]):
            named.append(i)
    return named
