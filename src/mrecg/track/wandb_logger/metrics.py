"""The one list of names that W&B knows a run by: curves, their step axes, and the numbers of the summary.

W&B makes a section of a name's part before the slash and sorts sections and panels by name, so what is looked
at first comes first, and units carry a number that sorts them as the network has them. All names keep to
letters, digits, underscores and that slash: W&B takes a dot for a nested key, and then does not find again
what was set for a curve.
"""

import re
from collections.abc import Mapping
from typing import Any

from mrecg.planner.schedule import Criterion, Plan, group_name
from mrecg.runs.metrics import named
from mrecg.runs.summary import RunSummary

STEP = "step"
"""Step axis of all optimisation curves: 0 for the first step of a group or of the finishing. Hidden."""
UNIT = "unit"
"""Step axis of all curves over the units: 0 for the first. Hidden."""
ERROR = "oscillation/error"
"""Relative error after each base unit."""
LOSS = "oscillation/loss"
"""Reconstruction loss after each base unit."""
FLOOR = "oscillation/floor"
"""Of that loss, after the last unit of each group: what its group has in full precision after the quantized
units before it."""
AGAINST_BLOCK = "oscillation/error_vs_block"
"""The error over that of the block-wise run of the same settings, less one: below 0 where merging helps."""
NEW_IMAGES = "oscillation/error_evaluation"
"""Relative error after each base unit on evaluation images, at the end of the run."""
FINISH_LOSS = "finish/loss"
"""Loss of the steps in which the whole network is finished."""
FINISH_HELD_OUT = "finish/held_out"
"""Loss of the held-out images meanwhile."""

LABEL = "label"
"""Key beside the configuration: what the run is called where runs are compared, without its seed."""

CURVE = {
    "reconstruction": "reconstruction",
    "rounding": "rounding",
    "prediction": "prediction",
    "total": "total",
    "beta": "rounding_beta",
}
"""Section of each quantity of an optimisation curve, by its name in `CurvePoint`."""
HIDDEN = {"rounding", "total", "beta"}
"""Quantities without panels in the default workspace, which opens with what matters."""


def curve_key(place: str, quantity: str) -> str:
    """Key of an optimisation curve.

    Args:
        place: From `places`, with a later pass after it where there is one (`with_pass`).
        quantity: A key of `CURVE`.

    Returns:
        For example ``reconstruction/03_features_3``.
    """
    return f"{CURVE[quantity]}/{place}"


def with_pass(place: str, task: str, count: int) -> str:
    """Tell the passes of a method apart: the first has the plain name, as in the run folder's curves.

    Args:
        place: From `places`.
        task: Name of the pass.
        count: 1 for the first pass.

    Returns:
        For example ``03_features_3_scales``.
    """
    return place if count <= 1 else f"{place}_{plain(task)}"


def places(plan: Plan) -> dict[str, str]:
    """Name every group by its last unit, after which its loss is measured.

    So the curves of a merged group and of its last unit alone are about the same tensor and share a panel,
    and a project has as many panels as the network has units, however many schedules are tried.

    Returns:
        For each group name (`group_name`) the number of its last unit and the unit's name, for example
        ``04_features_4``.
    """
    digits = max(2, len(str(len(plan.units) - 1)))
    position = {name: i for i, name in enumerate(plan.units)}
    return {group_name(g): f"{position[g[-1]]:0{digits}d}_{plain(g[-1])}" for g in plan.groups}


def plain(name: str) -> str:
    """Keep what W&B's names may have.

    >>> plain("features.18-classifier")
    'features_18_classifier'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def capacity_key(name: str) -> str:
    """Key of a capacity over the units.

    Args:
        name: The criterion: ``modcap``, ``loss``, ``error`` or ``budget``.

    Returns:
        For example ``plan/capacity_modcap``.
    """
    return f"plan/capacity_{name}"


def difference_key(name: str, difference: str) -> str:
    """Key of the differences between each unit and the one before it.

    Args:
        name: The criterion.
        difference: How it compares neighbours.

    Returns:
        For example ``plan/difference_modcap_squared``.
    """
    return f"plan/difference_{name}_{difference}"


def leading(plan: Plan) -> list[Criterion]:
    """Choose the criteria to show: of those that share capacities the one that decides or is usual.

    Args:
        plan: The plan; its first criterion is the one that decides.

    Returns:
        One criterion a name, the deciding one first.
    """
    found: dict[str, Criterion] = {}
    for criterion in plan.criteria:
        found.setdefault(criterion.name, criterion)
    return list(found.values())


def flat_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the numbers that runs are compared by, under names that sort next to what they belong to.

    Args:
        summary: The content of summary.json.

    Returns:
        One level of plain numbers and texts; what the run has not measured is left out.
    """
    run = RunSummary.readable(summary)
    found: dict[str, Any] = {"status": run.status}
    found |= {f"seconds_{stage}": seconds for stage, seconds in run.seconds.items()}
    found |= {key: metric.value(run) for key, metric in named("wandb").items()}
    for network, values in (run.metrics or {}).items():
        suffix = "_fp" if network == "fp" else ""
        found |= {f"metric_{plain(key)}{suffix}": value for key, value in values.items()}
    return {key: value for key, value in found.items() if value is not None}


PROVENANCE = ("calibration", "evaluation", "weights", "preprocessing", "device", "options")
"""Keys of summary.json that say what a run was made of and its configuration does not."""
