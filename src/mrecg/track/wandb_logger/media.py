"""Tables and pictures of a run for W&B, from its folder: its units, its changed decisions, its plan."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrecg.errors import MrecgError
from mrecg.report import load_run, oscillation_figure, plan_figure
from mrecg.report.decisions import class_folders, class_names, read_decisions
from mrecg.runs.load import load_plan
from mrecg.runs.measures import against_block
from mrecg.runs.records import Run, short_group
from mrecg.runs.summary import RunSummary

UNITS, DECISIONS = "tables/units", "tables/decisions"
"""Names of the tables."""
PLAN, CURVES = "pictures/plan", "pictures/oscillation"
"""Names of the pictures."""
COLUMNS = {
    UNITS: ("unit", "group", "merged", "error", "loss", "floor", "error vs block"),
    DECISIONS: ("image", "label", "full precision", "quantized", "change"),
}
MOST_ROWS = 10_000
"""Changed images in the table, at most: W&B shows no more."""

Table = list[tuple[Any, ...]]


def tables(folder: Path, summary: Mapping[str, Any]) -> dict[str, Table]:
    """Make the tables of a finished run.

    Args:
        folder: The run folder.
        summary: The content of its summary.json.

    Returns:
        Rows by the name of the table, under the columns of `COLUMNS`; what the run has not is left out.
    """
    run = RunSummary.readable(summary)
    found = {UNITS: _units(run), DECISIONS: _decisions(folder)}
    return {name: rows for name, rows in found.items() if rows}


def pictures(folder: Path, into: Path) -> dict[str, Path]:
    """Draw the plan and the curves over the units.

    Args:
        folder: The run folder, complete but for its page.
        into: Where the files go.

    Returns:
        Files by the name of the picture.
    """
    found = {CURVES: oscillation_figure([load_run(folder, detailed=False)], into / "oscillation.png")}
    plan = load_plan(folder, needed=False)
    if plan is not None and plan.criteria:
        found[PLAN] = plan_figure(plan, into / "plan.png")
    return found


def _units(run: RunSummary) -> Table:
    floors = {group.name.rpartition("+")[2]: group.floor for group in run.group_results}
    known = len(run.block_errors or ()) == len(run.units)
    # Finishing has changed the errors, and that of the block-wise run was not finished.
    compared = known and run.finish is None
    against = against_block(run.errors, run.block_errors or ()) if compared else [math.nan] * len(run.units)
    rows: Table = []
    for i, unit in enumerate(run.units):
        members = run.groups[unit.group] if unit.group < len(run.groups) else (unit.name,)
        floor = floors.get(unit.name) if unit.name == members[-1] else None
        block = against[i] if math.isfinite(against[i]) else None
        rows.append((unit.name, short_group(members), len(members) > 1, unit.error, unit.loss, floor, block))
    return rows


def _decisions(folder: Path) -> Table:
    """The images of which the two networks say different classes."""
    try:
        run: Run = load_run(folder, detailed=False)
        decisions = read_decisions(run)
    except MrecgError:
        return []  # a run that was given its images in Python may have none
    if decisions is None:
        return []
    names = class_names(decisions, class_folders(run))
    rows: Table = []
    for image, (label, full, low) in enumerate(decisions.tolist()):
        if full != low:
            change = "lost" if full == label else "won" if low == label else "still wrong"
            rows.append((image, *(names.get(one, str(one)) for one in (label, full, low)), change))
    return rows[:MOST_ROWS]
