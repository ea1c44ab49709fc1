"""How much of the spread of a result each setting explains, alone, over the runs that are there.

The share is that of the variance between the means of bins of the setting: its main effect, the first-order
index of Sobol', estimated from given runs (Plischke, Borgonovo, Smith, European Journal of Operational
Research 226, 2013) and corrected for the number of bins as Kelley's epsilon squared (PNAS 21, 1935): without
an effect it is 0 on average. Bins depend on the order of values alone, so it is the same on a logarithmic
scale.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_RUNS = 8
"""Runs from which on shares are told."""
LEVEL = 0.05
"""Part of the shuffles that may reach a share which is told as more than chance."""
_SHUFFLES = 400
_MOST_BINS = 10
_IN_A_BIN = 3
"""Runs of each value, on average, from which on values are bins of their own."""

Value = float | str | None
"""Of a setting: a number, a name, or None where a run has no such setting."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a setting explains of a result.

    Attributes:
        share: Of the variance, 0 to 1.
        chance: Whether shuffled runs reach as much in more than `LEVEL` of the cases.
    """

    share: float
    chance: bool


def effect(setting: Sequence[Value], outcome: Sequence[float | None]) -> Effect | None:
    """Measure what a setting explains of a result.

    Args:
        setting: Its value in each run.
        outcome: The result of each run; runs without one are left out.

    Returns:
        The effect; None of fewer than `LEAST_RUNS` runs, of a setting or a result that does not vary, and
        where nearly every run has a value of its own that has no order.
    """
    known = [(s, y) for s, y in zip(setting, outcome, strict=True) if y is not None and math.isfinite(y)]
    if len(known) < LEAST_RUNS:
        return None
    label = _bins([s for s, _ in known])
    ys = np.array([y for _, y in known], dtype=np.float64)
    ys -= ys.mean()
    runs, bins, total = len(ys), int(label.max()) + 1, float(ys @ ys)
    if bins < 2 or runs - bins < _IN_A_BIN or total <= 1e-24 * runs:
        return None
    members = np.eye(bins)[label]
    sizes = members.sum(axis=0)

    def between(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = ((rows @ members) ** 2 / sizes).sum(axis=1) / total
        return found

    raw = float(between(ys[None])[0])
    shuffled = between(np.random.default_rng(0).permuted(np.tile(ys, (_SHUFFLES, 1)), axis=1))
    reached = (1 + int((shuffled >= raw - 1e-12).sum())) / (1 + _SHUFFLES)
    share = 1 - (1 - raw) * (runs - 1) / (runs - bins)
    return Effect(share=min(max(share, 0.0), 1.0), chance=reached > LEVEL)


def _bins(values: Sequence[Value]) -> NDArray[np.intp]:
    """Number the bins from 0: each name, and the lack of one; of numbers each, or equally many runs."""
    numbers = sorted(value for value in values if isinstance(value, int | float))
    distinct = sorted(set(numbers))
    most = min(_MOST_BINS, max(2, round(math.sqrt(len(numbers)))))
    if len(distinct) <= most or len(numbers) >= _IN_A_BIN * len(distinct):
        edges = distinct[1:]
    else:
        edges = sorted({numbers[round(i * len(numbers) / most)] for i in range(1, most)} - {distinct[0]})
    keys = [
        ("", int(np.searchsorted(edges, value, side="right")))
        if isinstance(value, int | float)
        else (str(value), -1)
        for value in values
    ]
    order = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([order[key] for key in keys], dtype=np.intp)
