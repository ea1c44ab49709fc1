"""Runs as pandas tables; pandas is imported where one is made."""

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrecg.errors import ConfigError, DataError
from mrecg.runs.find import find_runs
from mrecg.runs.load import load_run
from mrecg.runs.metrics import METRICS
from mrecg.runs.reader import Reader
from mrecg.runs.records import Run

if TYPE_CHECKING:
    import pandas as pd


def pandas_module() -> Any:
    """Import pandas.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module("pandas")
    except ImportError as error:
        raise ConfigError("a table needs the package pandas: pip install 'mrecg[pandas]'") from error


def read_runs(folders: Path | str | Sequence[Path | str]) -> "pd.DataFrame":
    """Read run folders into a table, one row per run.

    Args:
        folders: Run folders, or folders that hold some at any depth, for example that of a sweep.

    Returns:
        A table with the columns ``folder``, ``name``, ``status``, ``error``, what the run did (``model``,
        ``data``, ``weight_bits``, ``activation_bits``, ``method``, ``granularity``, ``planner``,
        ``merge_count``, ``seed``, ``steps``), each other setting that is not the default
        (``method.loss``), and what came out: accuracies as fractions, errors, bytes, seconds, and
        ``metric_NAME``, ``metric_NAME_fp`` of metrics of your own. What a run has not measured is NaN.
        Runs that cannot be read are left out with a warning.

    Raises:
        DataError: A path is no folder, or there is no run in it.
        ConfigError: pandas is not installed.
    """
    pd, rows = pandas_module(), []
    paths = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    found = find_runs(paths)
    broken: dict[Path, DataError] = {}
    with Reader(paths, found) as read:
        for path in found:
            try:
                rows.append(_row(load_run(path, read=read, detailed=False)))
            except DataError as error:
                broken[path] = error
    if broken:
        first = next(iter(broken.values()))
        warnings.warn(
            f"{len(broken)} of {len(found)} runs cannot be read and are left out: {first}", stacklevel=2
        )
    return pd.DataFrame(rows)


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {
        "folder": str(run.path),
        "name": run.run_name,
        "status": run.status,
        "error": run.error,
        "model": run.model,
        "data": run.data,
        "weight_bits": run.bits.weight,
        "activation_bits": run.bits.activation,
        "method": run.method,
        "granularity": run.granularity,
        "planner": run.planner,
        "merge_count": run.merge_count,
        "seed": run.seed,
        "steps": run.steps,
        **run.options,
    }
    row |= {metric.key: metric.value(run) for metric in METRICS}
    for network, values in (run.metrics or {}).items():
        suffix = "_fp" if network == "fp" else ""
        row |= {f"metric_{key}{suffix}": value for key, value in values.items()}
    return row
