"""What the page draws of a search or a grid: the settings that vary, and what each explains."""

from collections.abc import Mapping, Sequence
from typing import Any

from mrecg.report import compare
from mrecg.report.importance import LEAST_RUNS, effect
from mrecg.report.page.curves import significant
from mrecg.report.varied import Setting, varied
from mrecg.runs.measures import head_error
from mrecg.runs.records import Run

LEAST_ORDERED = 2
"""Settings with an order from which on runs are a search: of one the ablation shows all."""


def searches(
    runs: Sequence[Run], configurations: Mapping[int, str], networks: Mapping[str, str]
) -> list[Any]:
    """Describe the searches among runs, one of each network.

    Args:
        runs: All runs of the page.
        configurations: Ids of the configurations by the `id` of a run; runs that did not complete have none.
        networks: Ids of the networks by that of a configuration.

    Returns:
        Plain values, empty for networks whose runs differ in less than `LEAST_ORDERED` such settings, or are
        fewer than `LEAST_RUNS`.
    """
    of_network: dict[str, list[Run]] = {}
    for run in runs:
        if id(run) in configurations:
            of_network.setdefault(networks[configurations[id(run)]], []).append(run)
    found = []
    for network, members in of_network.items():
        settings = varied(members) if len(members) >= LEAST_RUNS else []
        if sum(one.ordered for one in settings) >= LEAST_ORDERED:
            found.append(_search(network, members, settings, configurations))
    return found


def _search(
    network: str, runs: Sequence[Run], settings: Sequence[Setting], configurations: Mapping[int, str]
) -> dict[str, Any]:
    lines: dict[str, list[float | int | None]] = {}
    for i, run in enumerate(runs):
        lines.setdefault(configurations[id(run)], [_place(one, i) for one in settings])
    return {
        "network": network,
        "runs": len(runs),
        "settings": [{"key": one.key, "title": one.title, "names": list(one.names)} for one in settings],
        "lines": lines,
        "effects": [
            {"outcome": key, "title": title, "of": [_effect(one, values) for one in settings]}
            for key, title, values in _outcomes(runs)
        ],
    }


def _place(setting: Setting, i: int) -> float | int | None:
    value = setting.values[i]
    return setting.names.index(value) if isinstance(value, str) else value


def _outcomes(runs: Sequence[Run]) -> list[tuple[str, str, list[float | None]]]:
    """What runs reach, and what they take; without images to evaluate the error stands for the accuracy."""
    top1 = [compare.top1(run) for run in runs]
    best = ("top1", "top-1", top1)
    if all(value is None for value in top1):
        best = ("head", "error into the head", [head_error(run.errors) for run in runs])
    time = [run.total_seconds if run.timing_s else None for run in runs]
    return [best, ("seconds", "time", time)]


def _effect(setting: Setting, outcome: Sequence[float | None]) -> dict[str, Any] | None:
    found = effect(setting.values, outcome)
    return None if found is None else {"share": significant(found.share, 4), "chance": found.chance}
