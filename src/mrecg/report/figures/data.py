"""The data of a figure as tidy tables: one observation a row, enough to draw the figure again."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mrecg.planner.schedule import Plan, group_name
from mrecg.report.compare import Panel, index, peak, top1, unit_errors
from mrecg.report.figures.ablation import CountLine
from mrecg.report.figures.comparison import Comparison, changes
from mrecg.report.figures.measures import MEASURES
from mrecg.report.figures.style import writing
from mrecg.runs.records import Run
from mrecg.system.atomic_write import write_durably

Row = Mapping[str, object]


def write_rows(rows: Sequence[Row], path: Path) -> Path:
    """Write a table as CSV, the same bytes on every system.

    Args:
        rows: At least one, with the same keys.

    Returns:
        The file. What is missing or not finite is left empty.

    Raises:
        DataError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    with writing(path):
        write_durably(path, text.getvalue().encode(errors="replace"))
    return path


def curve_rows(comparison: Comparison) -> list[Row]:
    """One row a run and unit, with the change against the block-wise run of the same seed."""
    baseline = comparison.baseline
    block = {seed: run.errors for seed, run in baseline.by_seed.items()} if baseline else {}
    means = unit_errors(baseline.runs) if baseline else [math.nan] * len(comparison.panel.units)
    return [
        {
            **_who(run, series.label),
            "unit_index": i,
            "unit": unit.name,
            "group": group_name(run.groups[unit.group]),
            "group_size": len(run.groups[unit.group]),
            "error": unit.error,
            "loss": unit.loss,
            "error_against_block": change / 100,
        }
        for series in comparison.panel.series
        for run in series.runs
        for found in [changes(block.get(run.seed, means), run.errors)]
        for i, (unit, change) in enumerate(zip(run.units, found, strict=True))
    ]


def count_rows(lines: Sequence[CountLine]) -> list[Row]:
    """One row a run; block-wise runs stand in every line that begins with them."""
    return [
        {**_who(run, line.label), "merged_pairs": count, **_results(run)}
        for line in lines
        for count, runs in line.by_count.items()
        for run in runs
    ]


def configuration_rows(panel: Panel) -> list[Row]:
    """One row a run."""
    return [{**_who(run, s.label), **_results(run)} for s in panel.series for run in s.runs]


def plan_rows(plan: Plan) -> list[Row]:
    """One row a unit, with the pair that it makes with the next one."""
    criterion = plan.criteria[0] if plan.criteria else None
    last = len(plan.units) - 1
    return [
        {
            "granularity": plan.granularity,
            "planner": plan.planner,
            "unit_index": i,
            "unit": name,
            "group_index": plan.group_of(name),
            "group_size": len(plan.groups[plan.group_of(name)]),
            "capacity_by": criterion.name if criterion else None,
            "capacity": criterion.capacities[i] if criterion else None,
            "difference_by": criterion.difference if criterion else None,
            "difference_to_next": criterion.differences[i] if criterion and i < last else None,
            "merged_with_next": plan.group_of(name) == plan.group_of(plan.units[i + 1]) if i < last else None,
            "not_comparable": plan.not_comparable[i] if i < len(plan.not_comparable) else None,
        }
        for i, name in enumerate(plan.units)
    ]


def _who(run: Run, label: str) -> Row:
    return {
        "network": run.model,
        "data": run.data,
        "weight_bits": run.bits.weight,
        "activation_bits": run.bits.activation,
        "configuration": label,
        "method": run.method,
        "granularity": run.granularity,
        "planner": run.planner,
        "merges": sum(len(group) - 1 for group in run.groups),
        "steps": run.steps,
        "seed": run.seed,
    }


def _results(run: Run) -> Row:
    return {
        "top1": top1(run),
        "top1_fp": run.fp.top1 if run.fp else None,
        **{measure.key: measure.take(run) for measure in MEASURES[1:]},
        "error_index": index(run),
        "error_peak": peak(run),
        "evaluation_images": run.evaluation_images,
    }


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if isinstance(value, float) and not math.isfinite(value) else value
