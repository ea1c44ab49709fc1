"""A heat map: configurations against units, with the merged units outlined."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mrecg.report.figures.axes import text_width
from mrecg.report.figures.comparison import told_apart
from mrecg.report.figures.style import GAIN, HARM, INK, SMALL, SOFT, luminance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

ROW = 0.15
"""Height of a row, inches."""
TWO_LINES = 0.23
"""Height of a row whose name has two lines."""
SCALE = 0.55
"""Width of the scale, inches."""
STEPS = 10
"""Shades of a hue."""
FULL = 100.0
"""Per cent that get the deepest shade, at most: a change that is larger would make all others pale."""
DECADES = 3
"""What the shades of a logarithmic map span, at most."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What a heat map shows.

    Attributes:
        values: A row for each configuration, a number for each unit.
        names: Of the rows.
        merged: For each row first and last unit of what it merges.
        styles: For each row how its line above is drawn; None where there is no line.
        words: What the values are.
        signed: Whether they are changes in per cent, and not errors.
    """

    values: Sequence[Sequence[float]]
    names: Sequence[str]
    merged: Sequence[Sequence[tuple[int, int]]]
    styles: Sequence[Mapping[str, Any] | None]
    words: str
    signed: bool


def row_names(labels: Sequence[str], *, inches: float) -> list[str]:
    """Name rows by what tells them apart, in two lines where a name would take much of the width."""
    names = told_apart(labels)
    most = max(12, int(0.3 * inches / text_width("a")))
    return ["\n".join(_two_lines(name, most)) for name in names]


def _two_lines(name: str, most: int) -> list[str]:
    """Break a name where a part of it ends, else between words."""
    parts = name.split(", ")
    cuts = [(", ".join(parts[:i]) + ",", ", ".join(parts[i:])) for i in range(len(parts) - 1, 0, -1)]
    cut = next((cut for cut in cuts if max(map(len, cut)) <= most), None)
    return list(cut) if cut and len(name) > most else wrap(name, most, max_lines=2, placeholder=" …")


def outline() -> "Patch":
    """What a legend shows of what is merged."""
    from matplotlib.patches import Patch

    return Patch(facecolor="white", edgecolor=INK, linewidth=0.9)


def draw_heat(axes: "Axes", cells: Cells, *, inches: float) -> float:
    """Draw a heat map with its scale.

    Args:
        axes: Where to.
        cells: What to draw.
        inches: Width of the figure.

    Returns:
        Width of the axes, inches, about.
    """
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
    from matplotlib.patches import Rectangle

    values = np.array(cells.values, dtype=float)
    rows, columns = values.shape
    finite = np.abs(values[np.isfinite(values)])
    most = float(finite.max()) if finite.size else 1.0
    if cells.signed:
        limit = min(max(most, 1.0), FULL)
        norm: Normalize = Normalize(-limit, limit)
        shades = [GAIN, "#ffffff", HARM]
    else:
        least = max(float(finite[finite > 0].min()) if (finite > 0).any() else most, most / 10**DECADES)
        norm = LogNorm(least, most) if _wide(values) and least < most else Normalize(0, most or 1.0)
        shades = ["#f4f8fb", "#56b4e9", "#0072b2", "#00304f"]
    colours = LinearSegmentedColormap.from_list("mrecg", shades, N=2 * STEPS + 1).with_extremes(bad="#d9dee3")
    edges = np.arange(columns + 1) - 0.5
    shown = np.ma.masked_invalid(np.clip(values, norm.vmin, norm.vmax))
    mesh = axes.pcolormesh(
        edges, np.arange(rows + 1) - 0.5, shown, cmap=colours, norm=norm, edgecolors="white", linewidth=0.4
    )
    lines = [line for name in cells.names for line in name.split("\n")]
    width = inches - max(map(text_width, lines)) - 0.3 - SCALE
    room = width / columns
    texts = [[_text(value, signed=cells.signed) for value in row] for row in values]
    if max(text_width(text) for row in texts for text in row) < room:
        for (row, column), value in np.ndenumerate(values):
            dark = math.isfinite(value) and luminance(colours(norm(shown[row, column]))) < 0.35
            axes.text(
                column,
                row,
                texts[row][column],
                ha="center",
                va="center_baseline",
                fontsize=SMALL - 0.5,
                color="white" if dark else SOFT if texts[row][column] == "0" else INK,
            )
    for row, groups in enumerate(cells.merged):
        for first, last in groups:
            frame = Rectangle((first - 0.46, row - 0.42), last - first + 0.92, 0.84, zorder=4)
            frame.set(fill=False, edgecolor=INK, linewidth=0.9)
            axes.add_patch(frame)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks(range(rows), cells.names, linespacing=0.95)
    axes.tick_params(axis="y", length=0, pad=9 if any(cells.styles) else 2)
    for row, style in enumerate(cells.styles):
        if style:
            place = {"transform": axes.get_yaxis_transform(), "clip_on": False}
            axes.plot([-5.0 / 72 / width], [row], **{**style, **place, "linestyle": "none"})
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure = axes.get_figure(root=False)
    assert figure is not None
    scale = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.01, aspect=12, extend=_extend(values, norm))
    scale.set_label(cells.words, size=SMALL)
    scale.outline.set_visible(False)
    return width


def _text(value: float, *, signed: bool) -> str:
    if not math.isfinite(value):
        return ""
    if signed:
        text = f"{value:+.0f}".replace("-", "\N{MINUS SIGN}")
        return "0" if text[1:] == "0" else text
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"


def _wide(values: Any) -> bool:
    """Whether the largest errors of the rows differ so much that linear shades would hide one."""
    peaks = [max((v for v in row if math.isfinite(v)), default=0.0) for row in values]
    peaks = [peak for peak in peaks if peak > 0]
    return bool(peaks) and max(peaks) > 6 * min(peaks)


def _extend(values: Any, norm: Any) -> str:
    low = bool((values < norm.vmin).any())
    high = bool((values > norm.vmax).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
        low, high
    ]
