"""Reports: tables, figures and the page, from run folders alone; each imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrecg.report.attempt import only_a_warning
    from mrecg.report.figures.sensitivity import sensitivity_figure
    from mrecg.report.figures.single import oscillation_figure, plan_figure
    from mrecg.report.page.write import write_report
    from mrecg.report.tables import comparison_rows
    from mrecg.report.terminal import terminal_table
    from mrecg.runs.find import find_runs
    from mrecg.runs.load import load_run
    from mrecg.runs.records import Run

__all__ = [
    "Run",
    "comparison_rows",
    "find_runs",
    "load_run",
    "only_a_warning",
    "oscillation_figure",
    "plan_figure",
    "sensitivity_figure",
    "terminal_table",
    "write_report",
]

_HOMES = {
    "Run": "mrecg.runs.records",
    "comparison_rows": "mrecg.report.tables",
    "find_runs": "mrecg.runs.find",
    "load_run": "mrecg.runs.load",
    "only_a_warning": "mrecg.report.attempt",
    "oscillation_figure": "mrecg.report.figures.single",
    "plan_figure": "mrecg.report.figures.single",
    "sensitivity_figure": "mrecg.report.figures.sensitivity",
    "terminal_table": "mrecg.report.terminal",
    "write_report": "mrecg.report.page.write",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mrecg.report' has no attribute {name!r}")
