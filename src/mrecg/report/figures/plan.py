"""The plan figure: capacities as bars along the units, differences of neighbours, merges as brackets."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mrecg.planner.criteria import described
from mrecg.planner.schedule import Plan
from mrecg.report.figures.axes import NARROW, name_height, unit_axis, value_axis
from mrecg.report.figures.style import INK, ONE_COLUMN, PLAIN, SMALL, SOFT, TWO_COLUMNS
from mrecg.report.palette import COLOURS_LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT = COLOURS_LIGHT[3]
"""What the plan merges; all else is light grey, also without colours."""
LOG_RANGE = 100.0
"""Bars that differ by more than this factor get a logarithmic axis."""
DEEPEST = 1e6
"""What a logarithmic axis spans at most: a bar that is almost 0 would press all others flat."""

_DIFFERENCES = {
    "squared": "squared difference",
    "log_ratio": "log ratio",
    "fall": "squared fall",
    "rise": "rise",
    "gain": "gain of merging",
    "rank": "rank",
}


def plan_title(plan: Plan) -> str:
    """Say in a line what a plan does."""
    how = f"{plan.granularity} by {plan.planner}" if plan.planner else plan.granularity
    count = len(plan.merges)
    merged = "no merge" if not count else "1 pair merged" if count == 1 else f"{count} pairs merged"
    return f"Plan ({how}): {len(plan.units)} units in {len(plan.groups)} groups, {merged}"


def plan_size(plan: Plan, width: float | None = None) -> tuple[float, float]:
    """Choose the size of a figure.

    Args:
        plan: What it shows.
        width: Inches; None: by the number of units.

    Returns:
        Width and height, inches.
    """
    wide = width or (ONE_COLUMN if len(plan.units) <= NARROW else TWO_COLUMNS)
    return wide, (1.3 + 0.9 if plan.criteria else 0.35) + name_height(plan.units, inches=wide - 0.6)


def draw_plan(figure: "Figure", plan: Plan, *, inches: float, title: str = "") -> None:
    """Draw a plan.

    Args:
        figure: Where to.
        plan: What to draw.
        inches: Width of the figure.
        title: Above it; empty for none.
    """
    chosen = chosen_pairs(plan)
    place = {name: i for i, name in enumerate(plan.units)}
    within = {place[name] for group in plan.merged for name in group}
    tints = [ACCENT if i in within else PLAIN for i in range(len(plan.units))]
    if plan.criteria:
        criterion = plan.criteria[0]
        top, bottom = figure.subplots(2, sharex=True, height_ratios=[1.3, 0.9])
        _bars(top, list(range(len(tints))), criterion.capacities, tints, width=0.72)
        top.set_ylabel(described(criterion).short)
        top.tick_params(axis="x", bottom=False, labelbottom=False)
        pairs = [i + 0.5 for i in range(len(tints) - 1)]
        colours = [ACCENT if i in chosen else PLAIN for i in range(len(pairs))]
        _bars(bottom, pairs, criterion.differences, colours, width=0.4, hollow=plan.not_comparable)
        bottom.set_ylabel(_DIFFERENCES.get(criterion.difference, criterion.difference))
        figure.align_ylabels([top, bottom])
        _key(bottom, plan, hollow=any(plan.not_comparable))
    else:
        top = bottom = figure.subplots()
        top.bar(range(len(tints)), [1.0] * len(tints), color=tints, width=0.72)
        top.set_yticks([])
        top.set_ylim(0, 1.25)
        top.spines["left"].set_visible(False)
    _brackets(top, plan, place)
    unit_axis(bottom, plan.units, inches=inches - 0.6)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=8)


def chosen_pairs(plan: Plan) -> list[int]:
    """Find the pairs that a plan merges; pair i is units i and i + 1."""
    place = {name: i for i, name in enumerate(plan.units)}
    return [place[name] for group in plan.groups for name in group[:-1]]


def _bars(
    axes: "Axes",
    at: Sequence[float],
    values: Sequence[float],
    colours: Sequence[str],
    *,
    width: float,
    hollow: Sequence[str] = (),
) -> None:
    finite = [v if math.isfinite(v) else math.nan for v in values]
    for bar, reason in zip(axes.bar(at, finite, color=list(colours), width=width), hollow, strict=False):
        if reason:
            bar.set(facecolor="white", edgecolor=bar.get_facecolor(), linewidth=0.8)
    positive = [v for v in finite if v > 0]
    log = bool(positive) and min(finite) >= 0 and max(positive) > LOG_RANGE * min(positive)
    floor = max(positive, default=0.0) / DEEPEST if log else -math.inf
    value_axis(axes, [v for v in finite if v >= floor], log=log, headroom=0.16)
    if min(finite, default=0.0) < 0:
        axes.axhline(0, color=SOFT, linewidth=0.6)


def _brackets(axes: "Axes", plan: Plan, place: dict[str, int]) -> None:
    for group in plan.merged:
        first, last = place[group[0]] - 0.36, place[group[-1]] + 0.36
        xs, ys = [first, first, last, last], [0.95, 0.985, 0.985, 0.95]
        axes.plot(xs, ys, transform=axes.get_xaxis_transform(), color=INK, linewidth=0.9)


def _key(axes: "Axes", plan: Plan, *, hollow: bool) -> None:
    """Explain the bars, in a line above the lower axes."""
    from matplotlib.patches import Patch

    handles = [Patch(color=ACCENT, label="merged")] if plan.merged else []
    if hollow:
        handles.append(Patch(facecolor="white", edgecolor=SOFT, linewidth=0.8, label="pair not comparable"))
    if handles:
        axes.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(handles),
            frameon=False,
            fontsize=SMALL,
            borderaxespad=0.0,
            borderpad=0.1,
            handlelength=1.2,
            handleheight=0.8,
        )
