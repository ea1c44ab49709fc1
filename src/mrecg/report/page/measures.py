"""The metrics as the page gets them: which columns its tables have, and the number of each run."""

from typing import Any

from mrecg.report.page.curves import significant
from mrecg.runs.metrics import Metric, named
from mrecg.runs.summary import RunSummary


def metric_columns() -> list[dict[str, Any]]:
    """The columns of the tables of configurations and of every run."""
    return [
        {
            **{"key": key, "format": metric.format, "better": metric.better, "note": metric.note},
            **{"runs": metric.name("runs"), "configurations": metric.name("configurations")},
        }
        for key, metric in named("page").items()
    ]


def measured(metric: Metric, run: RunSummary) -> float | None:
    """The number of a run, with no more digits than a page shows."""
    value = metric.value(run)
    return significant(value) if metric.format in ("fixed", "compact") else value
