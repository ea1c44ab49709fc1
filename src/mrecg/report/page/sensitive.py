"""What quantizing each unit alone does, as the page gets it: from the files of ``mrecg sensitivity``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrecg.report.page.curves import significant
from mrecg.runs.find import natural, runs_below
from mrecg.runs.layout import SENSITIVITY, SUMMARY
from mrecg.runs.sensitivity import Sensitive, Sensitivity, read_sensitivity


def sensitivities(
    folders: Sequence[Path], networks: Mapping[str, tuple[str, Sequence[str]]]
) -> list[dict[str, Any]]:
    """Read the sensitivities that stand beside runs, of networks that the page has.

    Args:
        folders: What was named; files of runs' numbers have none.
        networks: Name of the model and names of the units of each network of the page, by its id.

    Returns:
        One record for each file and network that it fits, in natural order of the folders.

    Raises:
        DataError: A file is damaged.
    """
    found = []
    for folder in filter(Path.is_dir, map(Path, folders)):
        # Run folders end the search, too: their curves and W&B files are many.
        places = sorted(runs_below(folder, frozenset({SENSITIVITY, SUMMARY})), key=natural)
        for file in filter(Path.is_file, (place / SENSITIVITY for place in places)):
            measured = read_sensitivity(file)
            names = {row.name for row in measured.of("unit")}
            for network, (model, units) in networks.items():
                if model == measured.model and names <= set(units):
                    found.append({"network": network, **_record(measured, units)})
    return found


def _record(measured: Sensitivity, units: Sequence[str]) -> dict[str, Any]:
    by = {what: {row.name: row for row in measured.of("unit", what)} for what in ("weights", "activations")}
    bits = [min((row.bits for row in rows.values()), default=32) for rows in by.values()]
    return {
        "bits": f"W{bits[0]}A{bits[1]}",
        "images": measured.images,
        "measure": measured.measure,
        **{what: [_value(rows.get(unit)) for unit in units] for what, rows in by.items()},
    }


def _value(row: Sensitive | None) -> float | None:
    return None if row is None else significant(row.kl, 4)
