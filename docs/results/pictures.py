"""Pictures of docs/results/NAME.json, in the look of benchmarks/growth_plot.py."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.lines import Lines, chosen, merge_counts
from results.records import Configuration, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#17212b", "#56636f", "#e3e8ed"
COLOURS = ("#56636f", "#0072b2", "#d98e00", "#009e73", "#b85c93", "#56b4e9")
"""One a line; told apart with any kind of colour blindness (after Okabe and Ito). Blocks alone are grey."""
LONGEST = 20
"""Letters of a unit's name."""
MOST_TICKS = 40
"""Names of units under a panel."""


def curves(results: Results, path: Path) -> None:
    """Draw relative error and reconstruction loss along the units, one column a bit width.

    Args:
        results: The runs.
        path: The PNG file.
    """
    lines = chosen(results)
    columns = len(lines.widths)
    figure = _figure((2.2 + max(3.4 * columns, 6.2), 6.2))
    panels = figure.subplots(2, columns, squeeze=False, sharex=True)
    colours = _colours(lines)
    for width, column in zip(lines.widths, panels.T, strict=True):
        shown = {label: line[width] for label, line in lines.lines.items() if width in line}
        for axes, key in zip(column, ("errors", "losses"), strict=True):
            for label, configuration in shown.items():
                _along(axes, configuration, key, colours[label])
        _dress(column[0], f"{lines.method}, {width}")
        _dress(column[1], "")
        column[0].set_ylim(bottom=0)
        column[0].locator_params(axis="y", nbins=6)
        column[1].set_yscale("log")
        column[1].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _units(column[1], results.units)
    panels[0, 0].set_ylabel("relative error", fontsize=9.5, color=SOFT)
    panels[1, 0].set_ylabel("reconstruction loss (log)", fontsize=9.5, color=SOFT)
    if len(lines.lines) > 1:
        last = len(results.units) - 1
        ends = {label: (last, _end(line, lines.widths[-1])) for label, line in lines.lines.items()}
        _name(panels[0, -1], ends, colours)
    _save(figure, path)


def merge_count(results: Results, path: Path) -> None:
    """Draw top-1, error index and error peak against the number of merged pairs.

    Args:
        results: The runs.
        path: The PNG file.
    """
    series = merge_counts(results)
    figure = _figure((10.5, 3.2))
    panels = figure.subplots(1, 3)
    colours = dict(zip((line.label for line in series), (COLOURS[1:] + COLOURS[:1]) * 9, strict=False))
    measures = {"top1": "Top-1, %", "error_index": "Error index", "error_peak": "Error peak"}
    for axes, (measure, name) in zip(panels, measures.items(), strict=True):
        factor = 100 if measure == "top1" else 1
        for line in series:
            colour = colours[line.label]
            steps = [(k, c) for k, c in line.points if k is not None]
            means = [_scaled(c.mean(measure), factor) for _, c in steps]
            axes.plot([k for k, _ in steps], means, "o-", color=colour, markersize=5, linewidth=1.6)
            for k, configuration in line.points:
                x = configuration.pairs[0] if k is None else k
                y = [_scaled(value, factor) for value in configuration.values(measure)]
                axes.plot([x] * len(y), y, "o", color=colour, alpha=0.35, markersize=3, markeredgewidth=0)
                if k is None:
                    y_mean = _scaled(configuration.mean(measure), factor)
                    # Top-1 mostly rises with k and the others fall: the word keeps clear of the line.
                    _ring(axes, x, y_mean, colour, below=measure == "top1")
        _dress(axes, name)
        axes.set_xticks(
            sorted({x for line in series for k, c in line.points for x in [k, *c.pairs] if x is not None})
        )
        axes.set_xlabel("merged pairs k", fontsize=9.5, color=SOFT)
    if len(series) > 1:
        ends = {
            line.label: [(k, c.mean("error_peak")) for k, c in line.points if k is not None][-1]
            for line in series
        }
        _name(panels[-1], ends, colours)
    _save(figure, path)


PICTURES: dict[str, Callable[[Results, Path], None]] = {"curves": curves, "merge_count": merge_count}
"""Every view that has a picture."""


def _figure(size: tuple[float, float]) -> "Figure":
    # A Figure of its own canvas needs no pyplot and no backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=size, layout=ConstrainedLayoutEngine(wspace=0.04, w_pad=0.1, h_pad=0.08), facecolor="white"
    )
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _colours(lines: Lines) -> dict[str, str]:
    return dict(zip(lines.lines, COLOURS, strict=False))


def _along(axes: "Axes", configuration: Configuration, key: str, colour: str) -> None:
    y = [_scaled(value) for value in configuration.curve(key)]
    axes.plot(range(len(y)), y, "o-", color=colour, markersize=2.8, linewidth=1.3)
    if len(configuration.groupings) > 1:
        return
    place = {name: index for index, name in enumerate(configuration["units"])}
    for group in configuration["groups"]:
        first, last = place[group[0]], place[group[-1]]
        axes.plot(
            range(first, last + 1),
            y[first : last + 1],
            color=colour,
            linewidth=7,
            alpha=0.25,
            solid_capstyle="round",
        )


def _end(line: Mapping[str, Configuration], width: str) -> float | None:
    return line[width].curve("errors")[-1] if width in line else None


def _name(axes: "Axes", ends: Mapping[str, tuple[float, float | None]], colours: Mapping[str, str]) -> None:
    """Write the names of lines beside their ends, apart from each other."""
    to_panel = axes.transData + axes.transAxes.inverted()
    known = {label: to_panel.transform((x, y)) for label, (x, y) in ends.items() if y is not None}
    gap = 0.085
    heights = _apart([known[label][1] if label in known else 0.0 for label in ends], gap)
    for label, height in zip(ends, heights, strict=True):
        colour, panel = colours[label], axes.transAxes
        if label in known:
            x0, y0 = known[label]
            xs, ys = [x0, 1.0, 1.04], [y0, height, height]
            axes.plot(xs, ys, color=colour, linewidth=0.7, alpha=0.6, transform=panel, clip_on=False)
        axes.text(1.05, height, label, transform=panel, va="center", fontsize=9, color=colour)


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights apart, keeping their order, around where they were."""
    ranked = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [0.0] * len(heights)
    low = -1.0
    for i in ranked:
        placed[i] = low = max(heights[i], low + gap)
    # What was pushed up is centred on where the lines end, but stays above the axis.
    shift = (sum(placed) - sum(heights)) / len(placed)
    return [value - min(shift, *placed) for value in placed]


def _ring(axes: "Axes", x: float, y: float, colour: str, *, below: bool) -> None:
    axes.plot([x], [y], "o", markersize=10, markerfacecolor="none", markeredgecolor=colour)
    offset = (8, -12) if below else (8, 5)
    axes.annotate("auto", (x, y), offset, textcoords="offset points", fontsize=8.5, color=colour)


def _scaled(value: float | None, factor: float = 1) -> float:
    return float("nan") if value is None else factor * value


def _units(axes: "Axes", units: Sequence[str]) -> None:
    parents = {name.partition(".")[0] for name in units}
    # What all names begin with is said once.
    common = f"{parents.pop()}." if len(parents) == 1 and all("." in name for name in units) else ""
    names = [name.removeprefix(common) for name in units]
    names = [name if len(name) <= LONGEST else f"{name[:9]}…{name[-9:]}" for name in names]
    every = -(-len(units) // MOST_TICKS)
    axes.set_xticks(range(0, len(units), every), names[::every], rotation=90, fontsize=7.5)
    axes.set_xlabel(f"units of {common[:-1]}" if common else "units", fontsize=9.5, color=SOFT)


def _dress(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9, length=0, which="both")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
