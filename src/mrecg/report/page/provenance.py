"""What was run: where the configurations differ, the environments, and the commands that repeat the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mrecg.report.missing import reproduce
from mrecg.runs.records import Run
from mrecg.system.checked_read import yaml_mapping

_NOT_COMPARED = ("name", "shared.", "cache.folder", "logger.")


def provenance(runs: Mapping[str, Run]) -> dict[str, Any]:
    """Collect what was run.

    Args:
        runs: By the id that the page knows them by.

    Returns:
        The key ``provenance`` of the page's document.
    """
    flat = {key: _flatten(_parsed(run.config)) for key, run in runs.items()}
    known = {key: values for key, values in flat.items() if values}
    keys = list(dict.fromkeys(key for values in known.values() for key in values))
    same: dict[str, str] = {}
    different = []
    for key in keys:
        if key.startswith(_NOT_COMPARED):
            continue
        values = {run: found.get(key, "–") for run, found in known.items()}
        if len(set(values.values())) == 1:
            same[key] = next(iter(values.values()))
        else:
            different.append({"key": key, "values": values})
    return {
        "same": same,
        "different": different,
        "environments": [
            {"runs": members, "values": dict(items)}
            for items, members in _gather(
                {key: tuple(run.environment.items()) for key, run in runs.items() if run.environment}
            )
        ],
        "commands": [
            {"runs": members, "command": command}
            for command, members in _gather({key: reproduce(run) for key, run in runs.items()})
            if command
        ],
    }


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        return yaml_mapping(text.encode())
    except ValueError:
        return {}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = "–" if value is None else str(value)
    return flat


def _gather(values: Mapping[str, Any]) -> Sequence[tuple[Any, list[str]]]:
    found: dict[Any, list[str]] = {}
    for run, value in values.items():
        found.setdefault(value, []).append(run)
    return list(found.items())
