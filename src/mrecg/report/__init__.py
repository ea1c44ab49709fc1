"""Reports: tables, figures and the page, from run folders alone."""

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
