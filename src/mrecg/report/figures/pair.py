"""A merged configuration beside its block-wise one: what lies between, what is merged, what changes."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrecg.report.compare import Series
from mrecg.report.figures.axes import MARGIN, text_width, value_axis
from mrecg.report.figures.comparison import Comparison, against
from mrecg.report.figures.style import BAND, GAIN, HARM, INK, SMALL, SOFT, blended

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def shaded(axes: "Axes", before: Sequence[float], after: Sequence[float]) -> "list[tuple[str, Artist]]":
    """Shade the area between two lines, where the second is lower and where it is higher."""
    import numpy as np

    x, old, new = np.arange(len(before)), np.array(before), np.array(after)
    found: list[tuple[str, Artist]] = []
    for words, where, colour in (("lower error", new < old, GAIN), ("higher error", new > old, HARM)):
        if where.any():
            shade: dict[str, Any] = {"color": colour, "alpha": 0.25, "linewidth": 0, "zorder": 1.5}
            found.append((words, axes.fill_between(x, old, new, where=where, interpolate=True, **shade)))
    return found


def brackets(axes: "Axes", units: Sequence[str], series: Series) -> bool:
    """Bracket what a configuration merges: a band where all seeds agree, a thin bracket where some do."""
    place = {name: i for i, name in enumerate(units)}
    groups = Counter(group for run in series.runs for group in run.merged)
    for group, times in groups.items():
        first, last = place[group[0]], place[group[-1]]
        agreed = times == len(series.runs)
        if agreed:
            _band(axes, first, last)
        ends, heights = [first - 0.35, first - 0.35, last + 0.35, last + 0.35], [0.95, 0.985, 0.985, 0.95]
        axes.plot(
            ends,
            heights,
            transform=axes.get_xaxis_transform(),
            color=INK if agreed else SOFT,
            linewidth=0.9 if agreed else 0.5,
        )
    return bool(groups)


def _band(axes: "Axes", first: int, last: int) -> None:
    axes.axvspan(first - 0.5, last + 0.5, color=BAND, linewidth=0, zorder=0)


def bars(axes: "Axes", comparison: Comparison, *, inches: float) -> None:
    """The change of the error after each unit; full colour and the number where a merged group ends."""
    baseline, series = comparison.panel.series[:2]
    found = against(baseline, series)
    place = {name: i for i, name in enumerate(comparison.panel.units)}
    groups = [group for run in series.runs for group in run.merged]
    ends = {place[group[-1]] for group in groups}
    for group, times in Counter(groups).items():
        if times == len(series.runs):
            _band(axes, place[group[0]], place[group[-1]])
    values = [value for value, _, _ in found]
    tints = [
        colour if i in ends or not ends else blended(colour, 0.5)
        for i, colour in enumerate(GAIN if value <= 0 else HARM for value in values)
    ]
    axes.bar(range(len(values)), values, color=tints, width=0.72, zorder=2)
    for i, (_, low, high) in enumerate(found):
        if high > low:
            axes.plot([i, i], [low, high], color=INK, linewidth=0.6, zorder=3)
    axes.axhline(0, color=SOFT, linewidth=0.6, zorder=2.5)
    named = {
        *ends,
        len(values) - 1,
        max(range(len(values)), key=lambda i: (math.isfinite(values[i]), values[i])),
    }
    room = (inches - MARGIN) / len(values)
    for i in sorted(named):
        value, low, high = found[i]
        text = f"{value:+.0f}".replace("-", "\N{MINUS SIGN}")
        if not math.isfinite(value) or text[1:] == "0":
            continue
        if i + 1 in named and text_width(text) > 1.1 * room and i not in ends:
            continue
        axes.annotate(
            text,
            (i, max(high, 0.0) if value > 0 else min(low, 0.0)),
            xytext=(0, 1.5 if value > 0 else -1.5),
            textcoords="offset points",
            ha="center",
            va="bottom" if value > 0 else "top",
            fontsize=SMALL,
            zorder=5,
        )
    value_axis(axes, [v for three in found for v in three] + [0.0], log=False, headroom=0.2)
    axes.set_ylabel(change_words(baseline))


def change_words(baseline: Series) -> str:
    """What the axis of the change says, in two lines."""
    name = baseline.label if len(baseline.label) <= 18 else "block-wise"
    return f"against\n{name} (%)"
