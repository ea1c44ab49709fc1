"""Optimisation curves: one small chart a group, the runs that have this group overlaid."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mrecg.planner.schedule import group_name
from mrecg.report import svg
from mrecg.report.compare import Panel
from mrecg.report.records import Curve, short_group
from mrecg.report.styles import Style
from mrecg.report.tables import compact

WIDTH, HEIGHT = 240.0, 132.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 8.0, 8.0, 20.0
POINTS = 80
"""Points of a curve that are drawn, at most: each is the mean of a stretch of logged ones."""


@dataclass(frozen=True, kw_only=True)
class StepChart:
    """One small chart.

    Attributes:
        title: Short name of the group, and the pass where there are two.
        names: Full names of its units.
        picture: An SVG element.
    """

    title: str
    names: str
    picture: str


def step_charts(panel: Panel, looks: Mapping[str, Style], ids: Mapping[str, str]) -> list[StepChart]:
    """Draw the optimisation of every group.

    Args:
        panel: What to draw.
        looks: Styles by the label of the series.
        ids: Names by the label of the series, by which a legend toggles them.

    Returns:
        One chart a group and pass, by the group's first unit; none for methods without an optimisation.
    """
    cells: dict[tuple[int, int, str, str], list[tuple[str, Curve]]] = {}
    for series in panel.series:
        for run in series.runs:
            for curve in run.curves:
                names = _names(curve.group, run.groups)
                place = (panel.units.index(names[0]), len(names), curve.stage, curve.group)
                cells.setdefault(place, []).append((series.label, curve))
    charts = []
    for (first, count, stage, group), curves in sorted(cells.items(), key=lambda item: item[0]):
        short = short_group(panel.units[first : first + count])
        charts.append(
            StepChart(
                title=f"{short}, {stage}" if stage else short,
                names=group,
                picture=_picture(curves, looks, ids, short),
            )
        )
    return charts


def _names(group: str, groups: Sequence[Sequence[str]]) -> Sequence[str]:
    return next(names for names in groups if group_name(names) == group)


def _picture(
    curves: Sequence[tuple[str, Curve]], looks: Mapping[str, Style], ids: Mapping[str, str], name: str
) -> str:
    thinned = [(label, *_thin(curve)) for label, curve in curves]
    scale = svg.fit([v for _, _, losses in thinned for v in losses], start=HEIGHT - BOTTOM, end=TOP, log=True)
    last = max((steps[-1] for _, steps, _ in thinned if steps), default=1.0)
    across = svg.Scale(low=0.0, high=max(last, 1.0), start=LEFT, end=WIDTH - RIGHT)
    parts = []
    for tick in _few(scale.ticks):
        y = scale(tick)
        if y is not None:
            parts.append(svg.line(LEFT, y, WIDTH - RIGHT, y, "grid"))
            parts.append(svg.text(LEFT - 5, y + 3.5, compact(tick), class_="tick", text_anchor="end"))
    parts.append(svg.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
    parts.append(svg.text(LEFT, HEIGHT - 6, "0", class_="tick"))
    parts.append(
        svg.text(WIDTH - RIGHT, HEIGHT - 6, f"{compact(last, 5)} steps", class_="tick", text_anchor="end")
    )
    for label, steps, losses in thinned:
        points = [
            None if (x := across(step)) is None or (y := scale(loss)) is None else (x, y)
            for step, loss in zip(steps, losses, strict=True)
        ]
        classes = f"series {looks[label].classes}"
        parts.append(
            svg.element("g", {"class": classes, "data-s": ids[label]}, svg.path(points, "curve small"))
        )
    attributes: dict[str, svg.Attribute] = {
        "class": "chart",
        "viewBox": f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        "role": "img",
        "aria-label": f"Reconstruction loss of {name} against the step, logarithmic; {len(curves)} runs.",
    }
    return svg.element("svg", attributes, *parts)


def _thin(curve: Curve) -> tuple[list[float], list[float]]:
    count = len(curve.steps)
    if count <= POINTS:
        return list(curve.steps), list(curve.losses)
    edges = [round(i * count / POINTS) for i in range(POINTS + 1)]
    steps, losses = [], []
    for start, end in pairwise(edges):
        finite = [v for v in curve.losses[start:end] if math.isfinite(v)]
        steps.append(sum(curve.steps[start:end]) / (end - start))
        losses.append(sum(finite) / len(finite) if finite else math.nan)
    return steps, losses


def _few(ticks: Sequence[float]) -> Sequence[float]:
    """About three of the ticks: there is no room for more."""
    return ticks[:: max(1, math.ceil(len(ticks) / 4))]
