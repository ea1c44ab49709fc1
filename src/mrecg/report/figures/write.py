"""Figures for papers over a set of runs: SVG and PDF, and their data as CSV beside them."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.report.compare import Panel, panels
from mrecg.report.figures.ablation import (
    compares_configurations,
    configurations_size,
    count_lines,
    counts_size,
    draw_configurations,
    draw_counts,
)
from mrecg.report.figures.choices import Choices, renamed
from mrecg.report.figures.comparison import Comparison, comparisons
from mrecg.report.figures.data import Row, configuration_rows, count_rows, curve_rows, plan_rows, write_rows
from mrecg.report.figures.names import digest, distinct, slug
from mrecg.report.figures.oscillation import draw_oscillation, oscillation_size
from mrecg.report.figures.plan import draw_plan, plan_size, plan_title
from mrecg.report.figures.style import LEGEND_ROW, new_figure, paper_style, save, writing
from mrecg.report.labels import SETTINGS
from mrecg.report.palette import Look, looks, looks_by_panel
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = "Mean over the seeds; the spread is from the least to the largest."


def paper_figures(runs: Sequence[Run], folder: Path, choices: Choices | None = None) -> list[Path]:
    """Write the oscillation, ablation and plan figures of some runs.

    The same runs give the same names and the same bytes. Files of these names are overwritten; all others
    are left alone.

    Args:
        runs: Any runs; those that did not complete are passed over.
        folder: Where to; it is made.
        choices: Width and names.

    Returns:
        The files, in the order written: of each figure the SVG, the PDF and the CSV.

    Raises:
        ConfigError: A name that is to be changed is not there.
        DataError: No run completed, or the folder cannot be written to.
    """
    choices, plain = choices or Choices(), panels(runs)
    if not plain:
        raise DataError("no run to draw: none of them completed")
    shown = renamed(plain, choices.labels)
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with paper_style():
        for panel, stem, (styles, rule) in zip(shown, stems(shown), looks_by_panel(shown), strict=True):
            pages = _Pages(folder=folder, stem=stem, subject=panel.title, width=choices.inches)
            _panel_figures(pages, panel, styles, rule)
            written += pages.written
    return written


def figures_by_panel(shown: Sequence[Panel], written: Sequence[Path]) -> dict[str, list[Path]]:
    """Tell which figures show what.

    Args:
        shown: The panels of the runs that were drawn.
        written: What `paper_figures` gave.

    Returns:
        The SVG files by the title of their panel.
    """
    return {
        panel.title: [
            path
            for path in written
            if path.suffix == ".svg" and re.match(rf"{re.escape(stem)}-(?:{'|'.join(_KINDS)})", path.name)
        ]
        for panel, stem in zip(shown, stems(shown), strict=True)
    }


_KINDS = ("oscillation", "ablation", "plan")
"""How the names of figures begin, after their panel's."""


class _Pages:
    """The files of one panel."""

    def __init__(self, *, folder: Path, stem: str, subject: str, width: float | None) -> None:
        self.folder, self.stem, self.subject, self.width = folder, stem, subject, width
        self.written: list[Path] = []

    def add(
        self,
        name: str,
        rows: Sequence[Row],
        draw: "Callable[[Figure], int | None]",
        *,
        size: tuple[float, float],
        title: str,
        caption: str,
    ) -> None:
        """Draw a figure and write its three files; ``draw`` returns the rows of its legend."""
        width, height = size
        figure = new_figure(width=width, height=height)
        figure.set_size_inches(width, height + LEGEND_ROW * (draw(figure) or 0))
        path = self.folder / f"{self.stem}-{name}"
        for ending in (".svg", ".pdf"):
            # The name may hold dots, so the ending is added and not put in place of another.
            file = path.with_name(path.name + ending)
            self.written.append(save(figure, file, title=f"{self.subject}: {title}", caption=caption))
        self.written.append(write_rows(rows, path.with_name(path.name + ".csv")))


def _panel_figures(pages: _Pages, panel: Panel, styles: dict[str, Look], rule: str) -> None:
    drawn = comparisons(panel)
    for comparison, name in zip(drawn, _comparison_names(drawn), strict=True):
        _oscillation_page(pages, name, comparison)
    lines = count_lines(panel)
    if lines:
        counts = counts_size(lines, pages.width)
        pages.add(
            "ablation-merges",
            count_rows(lines),
            lambda figure: draw_counts(figure, lines, rule, inches=counts[0]),
            size=counts,
            title="accuracy, errors and time against the number of merged pairs",
            caption=SPREAD,
        )
    if compares_configurations(panel):
        size = configurations_size(panel, pages.width)
        pages.add(
            "ablation-configurations",
            configuration_rows(panel),
            lambda figure: draw_configurations(figure, panel, styles, inches=size[0]),
            size=size,
            title="accuracy, errors and time of every configuration",
            caption=f"{SPREAD} Ticks: single seeds.",
        )
    for name, plan in _plans(panel).items():
        _plan_page(pages, name, plan)


def _oscillation_page(pages: _Pages, name: str, comparison: Comparison) -> None:
    size = oscillation_size(comparison, pages.width)
    look = looks([comparison.panel])
    below = {"pair": " Below: the change at each unit.", "sweep": " Below: the change of each configuration."}
    pages.add(
        name,
        curve_rows(comparison),
        lambda figure: draw_oscillation(figure, comparison, look, inches=size[0]),
        size=size,
        title="relative error along the units",
        caption=f"{SPREAD} Brackets and frames: units optimised jointly.{below.get(comparison.form, '')}",
    )


def _comparison_names(drawn: Sequence[Comparison]) -> list[str]:
    """Name the figures by the method of their baseline, and by its settings where two share it."""
    if len(drawn) == 1:
        return ["oscillation"]
    facets = []
    for comparison in drawn:
        first = comparison.panel.series[0].first
        options = " ".join(f"{key.rpartition('.')[2]}{value}" for key, value in sorted(first.options.items()))
        own = [*(say(first) for say in SETTINGS), options]
        facets.append(
            [first.method, *own]
            if comparison.baseline
            else ["methods" if len({s.first.method for s in comparison.panel.series}) > 1 else "settings"]
        )
    return [f"oscillation-{name}" for name in distinct(facets)]


def _plan_page(pages: _Pages, name: str, plan: Plan) -> None:
    size = plan_size(plan, pages.width)
    pages.add(
        name,
        plan_rows(plan),
        lambda figure: draw_plan(figure, plan, inches=size[0]),
        size=size,
        title=plan_title(plan),
        caption=plan.note,
    )


def _plans(panel: Panel) -> dict[str, Plan]:
    """The plans that differ in more than the number of merges, by the name of their figure.

    One that merges only what a larger one of the same planner merges, too, is not drawn: the larger one shows
    the differences by which pairs are taken. Plans without merges are drawn where none has any.
    """
    runs = [run for series in panel.series for run in series.runs]
    found = [(run, plan) for run in runs if (plan := run.plan) and (plan.merged or plan.criteria)]
    found.sort(key=lambda one: -len(one[1].merges))
    kept: list[tuple[Run, Plan]] = []
    for run, plan in found:
        larger = [other for _, other in kept if _planned_by(other) == _planned_by(plan) or not plan.merged]
        if not any(_pairs(plan) <= _pairs(other) for other in larger):
            kept.append((run, plan))
    names = distinct(
        [
            [_planned_by(plan), f"k{len(plan.merges)}" if plan.merges else "", run.method, f"s{run.seed}"]
            for run, plan in kept
        ],
        always=2,
    )
    return {f"plan-{name}": plan for name, (_, plan) in zip(names, kept, strict=True)}


def _planned_by(plan: Plan) -> str:
    return plan.planner or plan.granularity


def _pairs(plan: Plan) -> set[tuple[str, str]]:
    return {pair for group in plan.groups for pair in pairwise(group)}


def stems(shown: Sequence[Panel]) -> list[str]:
    """Name the files of panels: network, images and bits.

    Returns:
        One beginning of a file name each; no two are the same, also where a file system takes "A" for "a".
    """
    firsts = [(panel.series[0].first, panel.widths.lower()) for panel in shown]
    names = [f"{slug(run.model)}-{slug(run.data)}-{slug(widths)}"[:80] for run, widths in firsts]
    folded = [name.casefold() for name in names]
    marks = [digest(repr((panel.title, panel.units))) for panel in shown]
    return [
        name if folded.count(name.casefold()) == 1 else f"{name}-{mark}"
        for name, mark in zip(names, marks, strict=True)
    ]
