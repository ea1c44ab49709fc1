"""What quantizing each unit alone does, as the page gets it: from the files of ``mrecg sensitivity``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrecg.report.page.curves import significant
from mrecg.runs.find import natural, runs_below
from mrecg.runs.layout import SENSITIVITY
from mrecg.runs.sensitivity import Sensitive, Sensitivity, read_sensitivity


def sensitivities(folders: Sequence[Path], networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Read the sensitivities that stand beside runs, of networks that the page has.

    Args:
        folders: What was named; files of runs' numbers have none.
        networks: Those of the page.

    Returns:
        One record for each file and network that it fits, in natural order of the folders.

    Raises:
        DataError: A file is damaged.
    """
    found = []
    for folder in filter(Path.is_dir, map(Path, folders)):
        for place in sorted(runs_below(folder, frozenset({SENSITIVITY})), key=natural):
            measured = read_sensitivity(place / SENSITIVITY)
            names = {row.name for row in measured.of("unit")}
            for network in networks:
                model = str(network["title"]).rpartition(" on ")[0]
                if model == measured.model and names <= {unit["name"] for unit in network["units"]}:
                    found.append(_record(measured, network))
    return found


def _record(measured: Sensitivity, network: Mapping[str, Any]) -> dict[str, Any]:
    by = {what: {row.name: row for row in measured.of("unit", what)} for what in ("weights", "activations")}
    bits = [min((row.bits for row in rows.values()), default=32) for rows in by.values()]
    return {
        "network": network["id"],
        "bits": f"W{bits[0]}A{bits[1]}",
        "images": measured.images,
        "measure": measured.measure,
        **{what: [_value(rows.get(unit["name"])) for unit in network["units"]] for what, rows in by.items()},
    }


def _value(row: Sensitive | None) -> float | None:
    return None if row is None else significant(row.kl, 4)
