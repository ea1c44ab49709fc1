"""The curves along the units: one line a configuration, merged units in brackets under the axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mrecg.report import svg
from mrecg.report.columns import Columns, columns, unit_labels
from mrecg.report.compare import Panel, Series
from mrecg.report.records import Run, short_group
from mrecg.report.styles import Style
from mrecg.report.tables import compact

LEFT, RIGHT, TOP, HEIGHT = 54.0, 14.0, 12.0, 300.0
ROW = 13.0


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a chart shows of each unit.

    Attributes:
        name: Field of a unit's record.
        title: Heading of the chart.
        axis: What the vertical axis counts.
    """

    name: str
    title: str
    axis: str

    def of(self, run: Run) -> list[float]:
        """The values of a run, one a unit."""
        return [float(getattr(unit, self.name)) for unit in run.units]


MEASURES = (
    Measure(name="error", title="Relative error after each unit", axis="‖quantized − FP‖² / ‖FP‖²"),
    Measure(
        name="loss",
        title="Reconstruction loss after each unit",
        axis="squared error, summed over channels, mean over the rest",
    ),
)


def mean_curve(series: Series, measure: Measure) -> list[float]:
    """Mean over the seeds at each unit.

    Args:
        series: A configuration.
        measure: What to take.

    Returns:
        One value a unit; not a number where no seed has one.
    """
    by_unit = zip(*(measure.of(run) for run in series.runs), strict=True)
    finite = [[v for v in column if math.isfinite(v)] for column in by_unit]
    return [fmean(column) if column else math.nan for column in finite]


def prefers_log(panel: Panel, measure: Measure) -> bool:
    """Whether a linear axis would press most of the curves flat.

    Args:
        panel: The panel.
        measure: What the chart shows.

    Returns:
        True for losses, and where the highest curve's peak is far above the lowest one's.
    """
    peaks = [
        max((v for v in mean_curve(series, measure) if math.isfinite(v)), default=0.0)
        for series in panel.series
    ]
    return measure.name == "loss" or max(peaks) > 6 * min(p for p in [*peaks, math.inf] if p > 0)


def unit_chart(
    panel: Panel, measure: Measure, looks: Mapping[str, Style], ids: Mapping[str, str], *, log: bool
) -> str:
    """Draw the curves of a panel.

    Args:
        panel: What to draw.
        measure: Error or loss.
        looks: Styles by the label of the series.
        ids: Names by the label of the series, by which a legend toggles them.
        log: Whether the vertical axis is logarithmic.

    Returns:
        An SVG element.
    """
    at = columns(panel.units, left=LEFT, right=RIGHT)
    values = [v for series in panel.series for run in series.runs for v in measure.of(run)]
    scale = svg.fit(values, start=TOP + HEIGHT, end=TOP, log=log)
    brackets = _bracket_rows(panel)
    under = TOP + HEIGHT + 8 + ROW * len(brackets)
    labels, label_height = unit_labels(at, under + 12)
    parts = [_grid(scale, at)]
    parts += _shading(brackets, looks, ids, at)
    for series in panel.series:
        drawn = _series(series, measure, looks[series.label], at, scale)
        parts.append(_layer(drawn, looks[series.label], ids[series.label]))
    for row, (series, groups) in enumerate(brackets):
        drawn = _brackets(series, groups, looks[series.label], at, TOP + HEIGHT + 9 + ROW * row)
        parts.append(_layer(drawn, looks[series.label], ids[series.label]))
    parts.append(svg.line(at.left, TOP + HEIGHT, at.width - RIGHT, TOP + HEIGHT, "axis"))
    parts.append(svg.element("line", {"class": "cursor", "y1": TOP, "y2": TOP + HEIGHT, "x1": -9, "x2": -9}))
    height = under + 14 + label_height
    attributes: dict[str, svg.Attribute] = {
        "class": "chart hoverable",
        "viewBox": f"0 0 {at.width:.0f} {height:.0f}",
        "style": at.least_width,
        "role": "img",
        "tabindex": "0",
        "aria-label": describe(panel, measure),
    }
    return svg.element("svg", attributes, *parts, labels)


def hover_data(
    panel: Panel, measure: Measure, looks: Mapping[str, Style], ids: Mapping[str, str]
) -> dict[str, Any]:
    """What the tooltip of a chart shows.

    Args:
        panel: What is drawn.
        measure: Error or loss.
        looks: Styles by the label of the series.
        ids: Names by the label of the series.

    Returns:
        Plain values: positions and names of the units, and of each series the mean, minimum and maximum over
        seeds.
    """
    at = columns(panel.units, left=LEFT, right=RIGHT)
    series = []
    for one in panel.series:
        by_unit = zip(*(measure.of(run) for run in one.runs), strict=True)
        texts = [_hover_text([v for v in column if math.isfinite(v)]) for column in by_unit]
        means = [v if math.isfinite(v) else None for v in mean_curve(one, measure)]
        series.append(
            {
                "id": ids[one.label],
                "label": one.label,
                "colour": looks[one.label].colour,
                "values": [None if v is None else float(f"{v:.4g}") for v in means],
                "texts": texts,
            }
        )
    return {"units": panel.units, "x": [round(x, 1) for x in at.centres], "series": series}


def describe(panel: Panel, measure: Measure) -> str:
    """Say in words what a chart shows.

    Args:
        panel: What is drawn.
        measure: Error or loss.

    Returns:
        The text alternative.
    """
    said = [f"{measure.title}, {panel.title}."]
    for series in panel.series:
        curve = mean_curve(series, measure)
        finite = [v for v in curve if math.isfinite(v)]
        if finite:
            where = panel.units[curve.index(max(finite))]
            said.append(
                f"{series.label}: peak {compact(max(finite))} at {where}, {compact(curve[-1])} at the end."
            )
    return " ".join(said)


def _grid(scale: svg.Scale, at: Columns) -> str:
    parts = []
    for tick in scale.ticks:
        y = scale(tick)
        if y is not None:
            parts.append(svg.line(at.left, y, at.width - RIGHT, y, "grid"))
            parts.append(svg.text(at.left - 8, y + 4, compact(tick), class_="tick", text_anchor="end"))
    return "".join(parts)


def _layer(drawn: str, look: Style, name: str) -> str:
    """Wrap what belongs to a series, so that a legend can hide it."""
    return svg.element("g", {"class": f"series {look.classes}", "data-s": name}, drawn)


def _series(series: Series, measure: Measure, look: Style, at: Columns, scale: svg.Scale) -> str:
    def points(values: Sequence[float]) -> list[tuple[float, float] | None]:
        pixels = [scale(v) for v in values]
        return [None if y is None else (x, y) for x, y in zip(at.centres, pixels, strict=True)]

    mean = points(mean_curve(series, measure))
    parts = [svg.path(points(measure.of(run)), "curve seed") for run in series.runs if len(series.runs) > 1]
    parts.append(svg.path(mean, "curve"))
    parts += [svg.marker(look.shape, *point, look.marker_class) for point in mean if point is not None]
    return "".join(parts)


def _bracket_rows(panel: Panel) -> list[tuple[Series, tuple[tuple[str, ...], ...]]]:
    """One row for each schedule of each series; seeds that merged the same share a row."""
    rows = []
    for series in panel.series:
        rows += [(series, merged) for merged in dict.fromkeys(run.merged for run in series.runs) if merged]
    return rows


def _brackets(series: Series, groups: Sequence[Sequence[str]], look: Style, at: Columns, y: float) -> str:
    parts = [svg.marker(look.shape, at.left - 12, y + 3.5, look.marker_class)]
    for group in groups:
        x, width = at.span(group)
        box: dict[str, svg.Attribute] = {
            "class": "bracket",
            "x": x + 0.08 * at.band,
            "y": y,
            "width": width - 0.16 * at.band,
            "height": 7.0,
            "rx": 3.5,
        }
        parts.append(
            svg.element("rect", box, svg.title(f"{series.label}: {short_group(group)} optimised jointly"))
        )
    return "".join(parts)


def _shading(
    rows: Sequence[tuple[Series, tuple[tuple[str, ...], ...]]],
    looks: Mapping[str, Style],
    ids: Mapping[str, str],
    at: Columns,
) -> list[str]:
    """Shade the merged spans; with several schedules the shades would mix, and the brackets have to do."""
    if not rows or len({groups for _, groups in rows}) > 1:
        return []
    series, groups = rows[0]
    parts = []
    for group in groups:
        x, width = at.span(group)
        parts.append(
            svg.element("rect", {"class": "shade", "x": x, "y": TOP, "width": width, "height": HEIGHT})
        )
    alone = {"data-s": ids[series.label]} if len(rows) == 1 else {}
    return [svg.element("g", {"class": f"series {looks[series.label].classes}", **alone}, *parts)]


def _hover_text(values: Sequence[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return compact(values[0])
    return f"{compact(fmean(values))} ({compact(min(values))} to {compact(max(values))})"
