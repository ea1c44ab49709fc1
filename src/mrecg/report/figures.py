"""Pictures as PNG files: the plan, and the curves along the units with and without merging."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.report.compare import Panel, Series, index, panels, top1
from mrecg.report.plan_chart import chosen_pairs, criterion_title, decided
from mrecg.report.records import Run
from mrecg.report.styles import Style, styles
from mrecg.report.tables import compact, percent
from mrecg.report.unit_chart import MEASURES, mean_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, SOFT, GRID, PLAIN = "#17212b", "#56636f", "#e3e8ed", "#b4bcc4"
COLOURS = ("#6b7680", "#d98e00", "#0072b2", "#3a9bdc", "#d55e00", "#009e73", "#b85c93")
"""By number of a `Style`; groups of a plan take them from the third on."""
DASHES = {"block": (0, (5, 2.5)), "layer": (0, (1, 2)), "fixed": (0, (8, 2, 2, 2)), "network": (0, (9, 3))}
MARKERS = ("o", "s", "^", "D")
LOG_RANGE = 100.0
"""Capacities that differ by more than this factor get a logarithmic axis."""


def plan_figure(plan: Plan, path: Path) -> Path:
    """Draw a plan: the capacity of every unit, the differences of neighbours, and what is merged.

    Args:
        plan: Any plan, also one without merges or without capacities.
        path: The PNG file to write; its folder is made.

    Returns:
        The file.
    """
    count = len(plan.units)
    criterion = plan.criteria[0] if plan.criteria else None
    figure = _figure(width=min(17.0, max(8.0, 3.0 + 0.34 * count)), height=5.6 if criterion else 2.6)
    title = _plan_title(plan)
    colours = _unit_colours(plan)
    if criterion is None:
        axes = figure.subplots()
        axes.bar(range(count), [1.0] * count, color=colours, width=0.8)
        axes.set_yticks([])
        _dress(axes)
        bottom = axes
    else:
        axes, bottom = figure.subplots(2, sharex=True, height_ratios=[1.5, 1])
        _capacity_bars(axes, criterion.capacities, colours)
        axes.set_title(criterion_title(criterion).partition(":")[0], loc="left", fontsize=9.5, color=SOFT)
        chosen = chosen_pairs(plan)
        tints = [colours[i] if i in chosen else PLAIN for i in range(count - 1)]
        bars = bottom.bar([i + 0.5 for i in range(count - 1)], criterion.differences, color=tints, width=0.42)
        for bar, reason in zip(bars, plan.not_comparable, strict=False):
            bar.set(**({"fill": False, "edgecolor": bar.get_facecolor(), "linewidth": 1.2} if reason else {}))
        said = criterion_title(criterion).partition(": ")[2]
        rule = f"; merged ones coloured{'' if decided(plan) else ', not chosen by it'}" if chosen else ""
        rule += "; hollow: not comparable" if any(plan.not_comparable) else ""
        bottom.set_title(f"Pairs of neighbours: {said}{rule}", loc="left", fontsize=9.5, color=SOFT)
        _dress(bottom)
    _frames(axes, plan, colours)
    size = 9.0 if count <= 30 else 7.5
    turn = 45.0 if count <= 40 else 90.0
    align = "right" if turn < 90 else "center"
    bottom.set_xticks(range(count), plan.units, rotation=turn, ha=align, rotation_mode=None, fontsize=size)
    bottom.set_xlim(-0.7, count - 0.3)
    for label, colour in zip(bottom.get_xticklabels(), colours, strict=True):
        label.set_color(INK if colour == PLAIN else colour)
        label.set_fontweight("normal" if colour == PLAIN else "bold")
        if turn < 90:
            label.set_rotation_mode("anchor")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return _save(figure, path)


def oscillation_figure(runs: Sequence[Run], path: Path) -> Path:
    """Draw the relative error along the units, with and without merging.

    Args:
        runs: Runs of one or several configurations; those that did not complete are passed over. Of several
            networks or bit widths each gets its own axes.
        path: The PNG file to write; its folder is made.

    Returns:
        The file.

    Raises:
        DataError: No run completed.
    """
    shown = panels(runs)
    if not shown:
        raise DataError("no run to draw: none of them completed")
    looks = styles(shown)
    widest = max(len(panel.units) for panel in shown)
    width = min(17.0, max(8.5, 3.5 + 0.34 * widest))
    figure = _figure(width=width, height=4.9 * len(shown))
    rows = figure.subplots(len(shown), squeeze=False)
    for axes, panel in zip(rows[:, 0], shown, strict=True):
        _oscillation(axes, panel, looks)
    return _save(figure, path)


def _oscillation(axes: "Axes", panel: Panel, looks: dict[str, Style]) -> None:
    error = MEASURES[0]
    highest = 0.0
    schedules = list(
        dict.fromkeys(run.merged for series in panel.series for run in series.runs if run.merged)
    )
    for series in panel.series:
        look = looks[series.label]
        colour = COLOURS[look.colour]
        if len(series.runs) > 1:
            for run in series.runs:
                axes.plot(error.of(run), color=colour, linewidth=0.7, alpha=0.4)
        curve = mean_curve(series, error)
        highest = max([highest, *(v for run in series.runs for v in error.of(run) if math.isfinite(v))])
        axes.plot(
            curve,
            color=colour,
            linewidth=2.0,
            linestyle=DASHES.get(look.dash, "-"),
            marker=MARKERS[look.shape % 4],
            markersize=5.5,
            markerfacecolor="white" if look.hollow else colour,
            markeredgewidth=1.5,
            label=_legend(series),
            zorder=3,
        )
    count = len(panel.units)
    # With several schedules the shades would mix; then bars above the curves have to do.
    for row, groups in enumerate(schedules):
        for group in groups:
            first, last = panel.units.index(group[0]), panel.units.index(group[-1])
            if len(schedules) == 1:
                axes.axvspan(first - 0.5, last + 0.5, color=COLOURS[4], alpha=0.10, linewidth=0)
            y = 1.02 + 0.03 * row
            place = axes.get_xaxis_transform()
            (bar,) = axes.plot([first - 0.4, last + 0.4], [y, y], transform=place, linewidth=4, color=SOFT)
            bar.set(clip_on=False, solid_capstyle="round")
    columns = 2 if len(panel.series) > 2 and count > 14 else 1  # two need the width of a long network
    room = 0.09 * math.ceil(len(panel.series) / columns)
    axes.set_ylim(0, highest * (1.04 + room) or 1.0)
    axes.set_xlim(-0.6, count - 0.4)
    turn = 45 if count <= 40 else 90
    axes.set_xticks(range(count), panel.units, rotation=turn, fontsize=9 if count <= 30 else 7.5)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if turn == 45 else "center")
        label.set_rotation_mode("anchor" if turn == 45 else "default")
    axes.set_ylabel("relative error  ‖q − FP‖² / ‖FP‖²", fontsize=9.5, color=SOFT)
    space = 10 + 9 * len(schedules)
    axes.set_title(
        f"Error behind each unit: {panel.title}",
        loc="left",
        fontsize=12,
        fontweight="bold",
        color=INK,
        pad=space,
    )
    if schedules:
        words = "bars: units optimised jointly"
        axes.set_title(words, loc="right", fontsize=9, color=SOFT, pad=space)
    _dress(axes)
    axes.legend(frameon=False, fontsize=9, loc="upper left", handlelength=3.2, ncols=columns)


def _legend(series: Series) -> str:
    accuracies = [value for run in series.runs if (value := top1(run)) is not None]
    indices = [value for run in series.runs if (value := index(run)) is not None]
    said = [f"top-1 {percent(fmean(accuracies))}"] if accuracies else []
    said += [f"index {fmean(indices):.2f}"] if indices else []
    seeds = [f"{len(series.runs)} seeds"] if len(series.runs) > 1 else []
    return f"{series.label}: {', '.join([*said, *seeds])}"


def _plan_title(plan: Plan) -> str:
    how = f"{plan.granularity} by {plan.planner}" if plan.planner else plan.granularity
    count = len(plan.merges)
    merged = "no merge" if not count else "1 pair merged" if count == 1 else f"{count} pairs merged"
    return f"Plan ({how}): {len(plan.units)} units in {len(plan.groups)} groups, {merged}"


def _unit_colours(plan: Plan) -> list[str]:
    """One colour a merged group, in turn; units that stay alone are grey."""
    turn = (COLOURS[2], COLOURS[4], COLOURS[5], COLOURS[6], COLOURS[1])
    merged = list(plan.merged)
    return [
        turn[merged.index(group) % len(turn)] if len(group) > 1 else PLAIN
        for group in plan.groups
        for _ in group
    ]


def _capacity_bars(axes: "Axes", capacities: Sequence[float], colours: Sequence[str]) -> None:
    axes.bar(range(len(capacities)), capacities, color=list(colours), width=0.76)
    positive = [c for c in capacities if c > 0 and math.isfinite(c)]
    if positive and max(positive) / min(positive) > LOG_RANGE:
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 2, max(positive) * 3)
    elif positive:
        axes.set_ylim(0, max(positive) * 1.22)
    if len(capacities) <= 24:
        for i, capacity in enumerate(capacities):
            axes.annotate(
                compact(capacity, 2),
                (i, capacity),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=SOFT,
            )
    _dress(axes)


def _frames(axes: "Axes", plan: Plan, colours: Sequence[str]) -> None:
    """A shade behind and a bracket above the units of each merged group."""
    place = {name: i for i, name in enumerate(plan.units)}
    for group in plan.merged:
        first, last = place[group[0]], place[group[-1]]
        axes.axvspan(first - 0.5, last + 0.5, color=colours[first], alpha=0.10, linewidth=0, zorder=0)
        xs, ys = [first - 0.42, first - 0.42, last + 0.42, last + 0.42], [0.955, 0.985, 0.985, 0.955]
        axes.plot(xs, ys, transform=axes.get_xaxis_transform(), color=colours[first], linewidth=1.8)


def _dress(axes: "Axes") -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=SOFT)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _figure(*, width: float, height: float) -> "Figure":
    # A Figure of its own canvas needs no pyplot and leaves the caller's backend alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png")
    return path
