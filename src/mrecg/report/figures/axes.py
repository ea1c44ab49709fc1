"""Axes of the figures: names of the units, ranges and ticks of the values, and the legend."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mrecg.report.figures.style import SMALL, TITLE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def unit_axis(axes: "Axes", units: Sequence[str], *, inches: float) -> None:
    """Write the names of the units under an axis, turned where there is little room, every n-th where less.

    Args:
        axes: The lowest axes.
        units: Names of the units; unit i stands at i.
        inches: Width of the axes, about.
    """
    names = [shortened(name) for name in units]
    room = inches / len(units)
    widest = max(map(len, names)) * SMALL / 72 * 0.62
    every = math.ceil(1.25 * SMALL / 72 / room)
    shown = list(range(0, len(units), every))
    turn, align = (0.0, "center") if widest < room else (90.0, "center") if room < 0.16 else (45.0, "right")
    axes.set_xticks(shown, [names[i] for i in shown], rotation=turn, ha=align)
    if turn == 45:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.7, len(units) - 0.3)


def shortened(name: str, *, most: int = 16) -> str:
    """Shorten a long module path: of its folders the first letter and the number, else its end.

    Args:
        name: A unit's name.
        most: Characters that the result may have.

    Returns:
        The name, or a short form of it.

    >>> shortened("features.denseblock1.denselayer12")
    'f.d1.denselayer12'
    >>> shortened("features.a_very_long_name_of_a_module")
    '…ame_of_a_module'
    """
    if len(name) <= most:
        return name
    *folders, last = name.split(".")
    short = ".".join([*(re.sub(r"^(\D)\D*(\d*).*$", r"\1\2", folder) for folder in folders), last])
    return short if len(short) <= most + 1 else "…" + name[1 - most :]


def legend_above(
    figure: "Figure | SubFigure", handles: Sequence["Artist"], labels: Sequence[str], *, title: str = ""
) -> int:
    """Put a legend above everything, in as few rows as the width allows.

    Args:
        handles: What to explain.
        title: Above them; empty for none.

    Returns:
        The number of rows, a title counted in.
    """
    width = figure.bbox.width
    for rows in range(1, len(labels) + 1):
        columns = math.ceil(len(labels) / rows)
        legend = figure.legend(
            handles,
            labels,
            loc="outside upper center",
            ncols=columns,
            frameon=False,
            handlelength=3.0,
            columnspacing=1.4,
            handletextpad=0.5,
            labelspacing=0.25,
            borderaxespad=0.0,
            borderpad=0.2,
            title=title or None,
            title_fontproperties={"weight": "bold", "size": TITLE},
            alignment="left" if title else "center",
        )
        if columns == 1 or legend.get_window_extent().width <= 0.99 * width:
            return rows + bool(title)
        legend.remove()
    return 0


def power_of_ten(value: float) -> str:
    """Write a power of ten as plain text, which an author can edit.

    Args:
        value: A power of ten.

    Returns:
        Its text.

    >>> power_of_ten(1e-12)
    '10⁻¹²'
    """
    return "10" + str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def log_ticks(axes: "Axes", low: float, high: float) -> None:
    """Make a logarithmic axis with numbers that can be read, also where it spans less than a decade or two.

    Args:
        low: Lower end.
        high: Upper end.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    small = low >= 1e-3 and high < 1e5
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_major_formatter(plain if small else FuncFormatter(lambda value, _: power_of_ten(value)))
    few = (2, 5) if decades < 2.2 else tuple(range(2, 10))
    axes.yaxis.set_minor_locator(LogLocator(subs=few, numticks=12))
    axes.yaxis.set_minor_formatter(plain if small and decades < 1.6 else NullFormatter())
    axes.tick_params(axis="y", which="minor", labelsize=SMALL)


def value_axis(axes: "Axes", values: Sequence[float], *, log: bool, headroom: float = 0.12) -> None:
    """Set the range of a vertical axis: from zero when linear, around the values when logarithmic.

    Args:
        values: All that is drawn.
        log: Whether the axis is logarithmic.
        headroom: Fraction of the height that stays free above.
    """
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    if log:
        span = max(math.log10(high / low), 0.3)
        log_ticks(axes, 10 ** (math.log10(low) - 0.08 * span), 10 ** (math.log10(high) + headroom * span))
    elif high > 0 or low < 0:
        bottom, top = min(0.0, low), max(0.0, high)
        extra = headroom * (top - bottom)
        axes.set_ylim(bottom - (extra if low < 0 else 0.0), top + extra)
