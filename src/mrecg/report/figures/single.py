"""Single pictures: a plan, and the curves along the units with and without merging."""

from collections.abc import Sequence
from pathlib import Path

from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.report.compare import panels
from mrecg.report.figures.curves import curves_size, draw_curves, readable
from mrecg.report.figures.plan import draw_plan, plan_size, plan_title
from mrecg.report.figures.style import LEGEND_ROW, ONE_COLUMN, new_figure, paper_style, save
from mrecg.report.palette import looks_by_panel
from mrecg.runs.records import Run

HEADING = 0.2
"""Height of a title, inches."""


def plan_figure(plan: Plan, path: Path) -> Path:
    """Draw a plan: the capacity of every unit, the differences of neighbours, and what is merged.

    Args:
        plan: Any plan, also one without merges or without capacities.
        path: The file to write, with the ending .png, .svg or .pdf; its folder is made.

    Raises:
        DataError: Another ending, or the file cannot be written.
    """
    title = plan_title(plan)
    with paper_style():
        width, height = plan_size(plan)
        lines = title.replace(": ", ":\n") if width == ONE_COLUMN else title
        figure = new_figure(width=width, height=height + HEADING * (1 + lines.count("\n")))
        draw_plan(figure, plan, inches=width, title=lines)
        return save(figure, path, title=title)


def oscillation_figure(runs: Sequence[Run], path: Path) -> Path:
    """Draw the relative error and the loss along the units, with and without merging.

    Args:
        runs: Runs of one or several configurations; those that did not complete are passed over. Of several
            networks or bit widths each gets its own axes; of many configurations the best are drawn.
        path: The file to write, with the ending .png, .svg or .pdf; its folder is made.

    Raises:
        DataError: No run completed, another ending, or the file cannot be written.
    """
    shown = panels(runs)
    if not shown:
        raise DataError("no run to draw: none of them completed")
    styles = [styles for styles, _ in looks_by_panel(shown)]
    shown = [readable(panel) for panel in shown]
    with paper_style():
        sizes = [curves_size(panel) for panel in shown]
        width = max(width for width, _ in sizes)
        figure = new_figure(width=width, height=sum(height for _, height in sizes))
        parts = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=[height for _, height in sizes])
        rows = [
            draw_curves(part, panel, look, inches=width, title=panel.title)
            for part, panel, look in zip(parts[:, 0], shown, styles, strict=True)
        ]
        figure.set_size_inches(width, sum(height for _, height in sizes) + LEGEND_ROW * sum(rows))
        return save(figure, path, title="; ".join(panel.title for panel in shown))
