"""Figures for papers over a set of runs: SVG and PDF, and their data as CSV beside them."""

import hashlib
import re
from collections.abc import Callable, Sequence
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
from mrecg.report.figures.curves import curves_size, draw_curves, readable
from mrecg.report.figures.data import Row, configuration_rows, count_rows, curve_rows, plan_rows, write_rows
from mrecg.report.figures.plan import draw_plan, plan_size, plan_title
from mrecg.report.figures.style import LEGEND_ROW, new_figure, paper_style, save, writing
from mrecg.report.palette import Look, looks_by_panel
from mrecg.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = "Mean over the seeds; the spread is from the least to the largest."


def paper_figures(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the oscillation, ablation and plan figures of some runs.

    The same runs give the same names and the same bytes. Files of these names are overwritten; all others
    are left alone.

    Args:
        runs: Any runs; those that did not complete are passed over.
        folder: Where to; it is made.

    Returns:
        The files, in the order written: of each figure the SVG, the PDF and the CSV.

    Raises:
        DataError: No run completed, or the folder cannot be written to.
    """
    shown = panels(runs)
    if not shown:
        raise DataError("no run to draw: none of them completed")
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with paper_style():
        for panel, stem, (styles, rule) in zip(shown, stems(shown), looks_by_panel(shown), strict=True):
            pages = _Pages(folder=folder, stem=stem, subject=panel.title)
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

    def __init__(self, *, folder: Path, stem: str, subject: str) -> None:
        self.folder, self.stem, self.subject = folder, stem, subject
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
    drawn = readable(panel)
    size = curves_size(drawn)
    fewer = "" if drawn is panel else " Of each method and kind the configuration with the best top-1."
    pages.add(
        "oscillation",
        curve_rows(panel, drawn),
        lambda figure: draw_curves(figure, drawn, styles, inches=size[0]),
        size=size,
        title="relative error and reconstruction loss along the units",
        caption=f"{SPREAD} Bars above: units optimised jointly, thin where only some seeds do.{fewer}",
    )
    lines = count_lines(panel)
    if lines:
        pages.add(
            "ablation-merges",
            count_rows(lines),
            lambda figure: draw_counts(figure, lines, rule),
            size=counts_size(),
            title="accuracy and oscillation against the number of merged pairs",
            caption=SPREAD,
        )
    if compares_configurations(panel):
        pages.add(
            "ablation-configurations",
            configuration_rows(panel),
            lambda figure: draw_configurations(figure, panel, styles),
            size=configurations_size(panel),
            title="accuracy and oscillation of every configuration",
            caption=f"{SPREAD} Ticks: single seeds.",
        )
    for name, plan in _plans(panel).items():
        _plan_page(pages, name, plan)


def _plan_page(pages: _Pages, name: str, plan: Plan) -> None:
    size = plan_size(plan)
    pages.add(
        name,
        plan_rows(plan),
        lambda figure: draw_plan(figure, plan, inches=size[0]),
        size=size,
        title=plan_title(plan),
        caption=plan.note,
    )


def _plans(panel: Panel) -> dict[str, Plan]:
    """The distinct plans by the name of their figure; of seeds that agree on the groups, the first one's."""
    found: dict[str, Plan] = {}
    for run in (run for series in panel.series for run in series.runs):
        plan = run.plan
        if plan is not None and (plan.merged or plan.criteria):
            how = f"{plan.granularity}-{plan.planner}" if plan.planner else plan.granularity
            # Without a part of the groups in it, a name would change its meaning when a run is added.
            merges = f"-{len(plan.merges)}-{_digest(repr(plan.merged))}" if plan.merged else ""
            found.setdefault(f"plan-{slug(how)}{merges}", plan)
    return found


def slug(text: str) -> str:
    """Make a part of a file name that every system takes.

    Returns:
        Letters, digits, dots, underscores and hyphens of it.

    >>> slug("resnet18 (a/b) on digits")
    'resnet18-a-b-on-digits'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._") or "run"


def stems(shown: Sequence[Panel]) -> list[str]:
    """Name the files of panels: network, images and bits.

    Returns:
        One beginning of a file name each; no two are the same, also where a file system takes "A" for "a".
    """
    firsts = [panel.series[0].first for panel in shown]
    names = [f"{slug(run.model)}-{slug(run.data)}-{slug(run.widths.lower())}"[:80] for run in firsts]
    folded = [name.casefold() for name in names]
    marks = [_digest(repr((panel.title, panel.units))) for panel in shown]
    return [
        name if folded.count(name.casefold()) == 1 else f"{name}-{mark}"
        for name, mark in zip(names, marks, strict=True)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
