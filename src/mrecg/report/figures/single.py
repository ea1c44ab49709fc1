"""Single pictures: a plan, and the curves along the units with and without merging."""

from collections.abc import Sequence
from pathlib import Path

from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.report.compare import panels
from mrecg.report.figures.choices import Choices, renamed
from mrecg.report.figures.comparison import comparisons
from mrecg.report.figures.oscillation import draw_oscillation, oscillation_size
from mrecg.report.figures.plan import draw_plan, plan_size, plan_title
from mrecg.report.figures.style import LEGEND_ROW, ONE_COLUMN, new_figure, paper_style, save
from mrecg.report.palette import looks
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


def oscillation_figure(runs: Sequence[Run], path: Path, choices: Choices | None = None) -> Path:
    """Draw the relative error along the units, with and without merging, and what merging changes.

    Args:
        runs: Runs of one or several configurations; those that did not complete are passed over. Each
            block-wise configuration that others are compared with gets its own axes.
        path: The file to write, with the ending .png, .svg or .pdf; its folder is made.
        choices: Width and names.

    Raises:
        ConfigError: A name that is to be changed is not there.
        DataError: No run completed, another ending, or the file cannot be written.
    """
    choices = choices or Choices()
    shown = renamed(panels(runs), choices.labels)
    if not shown:
        raise DataError("no run to draw: none of them completed")
    drawn = [comparison for panel in shown for comparison in comparisons(panel)]
    with paper_style():
        sizes = [oscillation_size(comparison, choices.inches) for comparison in drawn]
        width = max(width for width, _ in sizes)
        sizes = [oscillation_size(comparison, width) for comparison in drawn]
        figure = new_figure(width=width, height=sum(height for _, height in sizes))
        parts = figure.subfigures(len(drawn), 1, squeeze=False, height_ratios=[height for _, height in sizes])
        rows = []
        for i, (part, comparison) in enumerate(zip(parts[:, 0], drawn, strict=True)):
            title = comparison.panel.title
            heading = "" if i and title == drawn[i - 1].panel.title else title
            look = looks([comparison.panel])
            rows.append(draw_oscillation(part, comparison, look, inches=width, title=heading))
        figure.set_size_inches(width, sum(height for _, height in sizes) + LEGEND_ROW * sum(rows))
        return save(figure, path, title="; ".join(panel.title for panel in shown))
