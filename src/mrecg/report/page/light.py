"""The page of a job: no script, a twentieth of the full page's bytes, and the command that makes that."""

import shlex
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from mrecg.report import compare, missing, narrative, pairs
from mrecg.report.figures.single import oscillation_figure, plan_figure
from mrecg.report.page.static import HEIGHT, WIDTH, charts, picture, write_text
from mrecg.report.page.templating import asset, template
from mrecg.report.tables import columns, comparison_rows, numeric
from mrecg.runs.records import Run

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Nothing leaves the page, and no script runs in it."""
MOST_ROWS = 100
"""Runs in the table: the page is meant for one."""


def write_light(runs: Sequence[Run], folders: Sequence[Path], out: Path) -> Path:
    """Write the small page.

    Args:
        runs: Runs that are loaded, usually one. Loss curves, plan and settings are shown of a single one.
        folders: The folders that were named.
        out: The HTML file to write; its folder is made.
    """
    return write_text(Path(out), render_light(runs, folders))


def render_light(runs: Sequence[Run], folders: Sequence[Path]) -> str:
    """Assemble the small page.

    Args:
        runs: See `write_light`.
        folders: Likewise.

    Returns:
        HTML with everything in it.
    """
    shown = compare.panels(runs)
    single = runs[0] if len(runs) == 1 else None
    rows = comparison_rows(runs)
    return template("light.html.j2").render(
        title=shown[0].title
        if len(shown) == 1
        else (f"{len(runs):,} runs" if single is None else single.name),
        policy=POLICY,
        style=Markup(asset("css/base.css")),
        version=version("mrecg"),
        headline=narrative.headline(pairs.findings(shown), runs),
        failed=[run for run in runs if not run.completed],
        columns=columns(),
        numeric=numeric(),
        rows=rows[:MOST_ROWS],
        more=max(0, len(rows) - MOST_ROWS),
        oscillation=picture(partial(oscillation_figure, list(runs))) if shown else "",
        plan=picture(partial(plan_figure, single.plan))
        if single and single.plan and single.plan.criteria
        else "",
        charts=charts(single.curves, single.groups) if single else [],
        size=(WIDTH, HEIGHT),
        run=single,
        repeat=missing.reproduce(single) if single else "",
        full=shlex.join(["mrecg", "report", *map(str, folders)]),
    )
