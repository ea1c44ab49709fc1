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


NARROW = 14
"""Units that fit into one column, where the width is not given."""
MARGIN = 0.6
"""Width of what stands left of axes, inches, about."""
MOST_NAMES = 12
"""Units whose names stand on an axis; of more it has the numbers, and the names are in the CSV file."""


def unit_axis(axes: "Axes", units: Sequence[str], *, inches: float) -> None:
    """Write the units under an axis: names, turned where there is little room, or numbers of many.

    Args:
        axes: The lowest axes.
        units: Names of the units; unit i stands at i.
        inches: Width of the axes, about.
    """
    names = [shortened(name) for name in units]
    room = inches / len(units)
    axes.set_xlim(-0.7, len(units) - 0.3)
    if max(map(text_width, names)) < room:
        axes.set_xticks(range(len(units)), names)
    elif len(units) <= MOST_NAMES:
        axes.set_xticks(range(len(units)), names, rotation=45, ha="right", rotation_mode="anchor")
    else:
        every = math.ceil(text_width("00") * 1.15 / room)
        # The last unit is the classifier, and the measures call it the head.
        free = (text_width("00") + text_width("head")) / 2 + 0.04
        shown = [i for i in range(0, len(units) - 1, every) if (len(units) - 1 - i) * room > free]
        axes.set_xticks([*shown, len(units) - 1], [*map(str, shown), "head"])
        axes.set_xlabel(_numbered(units))


def _numbered(units: Sequence[str]) -> str:
    """What a unit's number means: where the names hold it, how."""
    stems = {name.removesuffix(str(i)) for i, name in enumerate(units[:-1]) if name.endswith(f".{i}")}
    whole = len(stems) == 1 and all(name.endswith(f".{i}") for i, name in enumerate(units[:-1]))
    return f"unit ({stems.pop()}N)" if whole else "unit"


def text_width(text: str, *, size: float = SMALL) -> float:
    """Width of a text in inches, about."""
    return len(text) * size / 72 * 0.48


def name_height(units: Sequence[str], *, inches: float) -> float:
    """Height that `unit_axis` needs below the axes, inches."""
    longest = max(text_width(shortened(name)) for name in units)
    if longest < inches / len(units):
        return 0.2
    return 0.35 if len(units) > MOST_NAMES else 0.2 + 0.75 * longest


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
            handlelength=2.4,
            columnspacing=1.2,
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
    """Write a power of ten.

    Args:
        value: A power of ten.

    Returns:
        Its text.

    >>> power_of_ten(1e-12)
    '$10^{-12}$'
    """
    return f"$10^{{{round(math.log10(value))}}}$"


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
        if not 1e-3 <= max(top, -bottom) < 1e4:
            axes.ticklabel_format(axis="y", useMathText=True)
