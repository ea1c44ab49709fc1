"""The optimisation curves for the page: short enough that many runs fit."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from mrecg.planner.schedule import group_name
from mrecg.report import compare
from mrecg.runs.records import Curve, Run

MOST_POINTS, LEAST_POINTS = 60, 12
"""Points of a curve: the most in a page of few runs, the least in a page of many."""
ALL_POINTS_RUNS = 50
"""Runs up to which every curve has `MOST_POINTS`."""
QUANTITIES = ("reconstruction", "rounding", "prediction", "total", "beta")


def curves(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """Gather the optimisation curves.

    Args:
        runs: The same runs as of `document`.

    Returns:
        Curves of each group, by the id of the run; thinned by means of neighbouring points. Runs that were
        not read whole have no entry.
    """
    detailed = {key: run for key, run in with_ids(runs).items() if run.detailed}
    points = max(LEAST_POINTS, min(MOST_POINTS, MOST_POINTS * ALL_POINTS_RUNS // max(len(detailed), 1)))
    found = {}
    for key, run in detailed.items():
        place = {name: i for i, name in enumerate(run.unit_names)}
        members = {group_name(group): group for group in run.groups}
        found[key] = [
            {
                "group": [place[name] for name in members[curve.group] if name in place],
                "stage": curve.stage,
                **_thin(curve, points),
                **({} if curve.floor is None else {"floor": significant(curve.floor, 4)}),
            }
            for curve in run.curves
            if curve.group in members
        ]
    return found


def with_ids(runs: Sequence[Run]) -> dict[str, Run]:
    """Name runs for the page.

    Args:
        runs: In any order.

    Returns:
        The runs in table order, by name.
    """
    return {f"r{i}": run for i, run in enumerate(sorted(runs, key=compare.sort_key))}


def significant(value: float | None, digits: int = 7) -> float | None:
    """Write a number as JSON can hold it, with no more digits than a figure shows.

    Args:
        value: Any number.
        digits: Significant digits that are kept.

    Returns:
        The number; None for what is not finite.
    """
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _thin(curve: Curve, points: int) -> dict[str, list[float | None]]:
    count = len(curve.steps)
    bins = min(count, points)
    edges = [round(i * count / bins) for i in range(bins + 1)] if bins else [0]
    found = {"step": [significant(_mean(curve.steps[a:b]), 6) for a, b in pairwise(edges)]}
    for quantity in QUANTITIES:
        values = curve.values.get(quantity)
        if values is not None:
            found[quantity] = [significant(_mean(values[a:b]), 4) for a, b in pairwise(edges)]
    return found


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
