"""Networks as the page gets them: their units, how these are named at an axis, and what is in them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mrecg.runs.records import Run


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Leave out of the names of units the module that most of them share.

    Args:
        names: Names of the units.

    Returns:
        The short names, and what was left out with its dot; the names and "" where they would be ambiguous.

    >>> short_names(["features.0", "features.1", "classifier"])
    (['0', '1', 'classifier'], 'features.')
    >>> short_names(["stem", "blocks.0", "blocks.1.0"])
    (['stem', '0', '1.0'], 'blocks.')
    >>> short_names(["layer1.0", "layer2.0"])
    (['layer1.0', 'layer2.0'], '')
    """
    inside = Counter(name[: i + 1] for name in names for i, letter in enumerate(name) if letter == ".")
    shared = max((module for module, units in inside.items() if 2 * units > len(names)), key=len, default="")
    cut = [name.removeprefix(shared) for name in names]
    if len(set(cut)) < len(cut):
        return list(names), ""
    return cut, shared


def units(run: Run) -> list[dict[str, Any]]:
    """Describe the units of a run's network, by its plan where that was read."""
    facts = {unit.name: unit for unit in run.plan.facts} if run.plan else {}
    capacity = next((c.capacities for c in run.plan.criteria if c.name == "modcap"), ()) if run.plan else ()
    short, _ = short_names(run.unit_names)
    found = []
    for i, name in enumerate(run.unit_names):
        unit = facts.get(name)
        values: dict[str, Any] = {
            "name": name,
            "short": short[i],
            "modcap": capacity[i] if i < len(capacity) else None,
        }
        if unit is not None:
            values |= {
                "stage": unit.stage,
                "parameters": sum(layer.weights for layer in unit.layers),
                "stride": math.prod(layer.stride for layer in unit.layers),
                "residual": unit.residual,
                "layers": [
                    {key: value for key, value in asdict(layer).items() if key != "macs"}
                    for layer in unit.layers
                ],
            }
        found.append(values)
    return found
