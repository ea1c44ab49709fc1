"""The picture of the growth: time against units and steps, memory against units for each group size."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID, BLUE = "#17212b", "#56636f", "#e3e8ed", "#0072b2"
SHADES = ("#0072b2", "#d98e00", "#009e73", "#b85c93")
"""One for each group size."""


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw three panels.

    Args:
        content: What `benchmarks.growth.measure` gave.
        path: The PNG file.
    """
    # A Figure of its own canvas needs no pyplot and no backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(wspace=0.06)
    figure = Figure(figsize=(10.5, 3.5), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    settings = content["settings"]
    _time(left, content, "units", f"Time against units ({settings['steps_a_unit']} steps per unit)")
    _time(middle, content, "steps", f"Time against steps ({settings['length']} units)")
    _memory(right, content["memory"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _time(axes: "Axes", content: dict[str, Any], axis: str, title: str) -> None:
    points, line = content[axis], content["lines"][axis]
    x = [point[axis] for point in points]
    ends = [0, 1.08 * max(x)]
    axes.plot(ends, [line["intercept"] + line["slope"] * end for end in ends], color=SOFT, linewidth=1.2)
    axes.plot(x, [point["seconds"] for point in points], "o", color=BLUE, markersize=6)
    sign = "+" if line["intercept"] >= 0 else "−"
    words = f"{line['slope']:.3g} s × {axis} {sign} {abs(line['intercept']):.2f} s\nR² = {line['r2']:.3f}"
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axes.text(0.05, 0.95, words, transform=axes.transAxes, va="top", fontsize=9, color=SOFT, bbox=ground)
    _dress(axes, title, axis if axis == "units" else "optimisation steps per unit", "seconds", x)


def _memory(axes: "Axes", points: list[dict[str, Any]]) -> None:
    lengths = sorted({point["units"] for point in points})
    tops = []
    for colour, size in zip(SHADES, sorted({point["group_size"] for point in points}), strict=False):
        own = [point for point in points if point["group_size"] == size]
        y = [point["cache_mb"] + point["optimiser_mb"] + point["saved_mb"] for point in own]
        axes.plot([point["units"] for point in own], y, "o-", color=colour, markersize=5, linewidth=1.4)
        name = f"groups of {size}" if size > 1 else "units alone"
        axes.annotate(
            name,
            (own[-1]["units"], y[-1]),
            (0, 6),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=colour,
        )
        tops += y
    _dress(axes, "Memory: cache and one step", "units", "MB at most", lengths)
    axes.set_ylim(0, 1.15 * max(tops))


def _dress(axes: "Axes", title: str, x: str, y: str, ticks: list[int]) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=9.5, color=SOFT)
    axes.set_ylabel(y, fontsize=9.5, color=SOFT)
    axes.set_xlim(0, 1.08 * max(ticks))
    axes.set_ylim(bottom=0)
    axes.set_xticks([0, *ticks])
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
