"""Capacities of units and the differences of neighbours.

Source: MRECG, arXiv 2303.11906, sections 3 and 4 (ModCap, and the loss in its place).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from mrecg.errors import one_of
from mrecg.graph.unit_facts import UnitFacts


def module_capacity(unit: UnitFacts, bits: Mapping[str, int], *, stride_factor: float = 1.6) -> float:
    """Data-free capacity of a unit.

    Args:
        unit: The unit's facts.
        bits: Weight bits by layer name; 32 for a layer that is missing.
        stride_factor: Factor for a layer with a stride above 1.

    Returns:
        Sum over its layers of weights x bits x stride factor.
    """
    return sum(
        layer.weights * bits.get(layer.name, 32) * (stride_factor if layer.stride > 1 else 1.0)
        for layer in unit.layers
    )


def squared_differences(capacities: Sequence[float]) -> list[float]:
    """Squared difference of each unit and the next: ``(c_i - c_{i+1})^2``.

    Args:
        capacities: One number a unit.

    Returns:
        One number a neighbouring pair.

    >>> squared_differences([1.0, 3.0, 2.0])
    [4.0, 1.0]
    """
    return [(a - b) ** 2 for a, b in pairwise(capacities)]


def log_ratios(capacities: Sequence[float]) -> list[float]:
    """Relative difference of each unit and the next: ``|log(c_i / c_{i+1})|``.

    Args:
        capacities: One positive number a unit.

    Returns:
        One number a neighbouring pair.

    >>> [round(d, 3) for d in log_ratios([1.0, 2.0, 2.0])]
    [0.693, 0.0]
    """
    return [abs(math.log(a / b)) for a, b in pairwise(capacities)]


def falls(capacities: Sequence[float]) -> list[float]:
    """Squared fall from each unit to the next; 0 where there is a rise.

    The reconstruction loss rises from block to block inside a stage, as error accumulates, and falls where a
    stage begins: of the squared differences, these are the ones that MRECG's authors merged by hand.

    Args:
        capacities: One number a unit.

    Returns:
        One number a neighbouring pair.

    >>> falls([1.0, 3.0, 2.0])
    [0.0, 1.0]
    """
    return [max(0.0, a - b) ** 2 for a, b in pairwise(capacities)]


def rises(errors: Sequence[float]) -> list[float]:
    """How much the error rises from each unit to the next; 0 where it falls.

    Args:
        errors: Relative error after each unit.

    Returns:
        One number a neighbouring pair.

    >>> rises([0.25, 0.75, 0.5])
    [0.5, 0.0]
    """
    return [max(0.0, b - a) for a, b in pairwise(errors)]


def comparable(left: UnitFacts, right: UnitFacts) -> str:
    """Say why two neighbours are not topologically homogeneous.

    Args:
        right: The next one.

    Returns:
        The first property that differs; empty when the units are comparable: the same strides, kinds of
        convolution and residual form. Kernel sizes and channel counts may differ.
    """
    if len(left.layers) != len(right.layers):
        return "number of layers"
    if [layer.stride for layer in left.layers] != [layer.stride for layer in right.layers]:
        return "stride"
    if [layer.kind for layer in left.layers] != [layer.kind for layer in right.layers]:
        return "kind of layer"
    return "shortcut" if left.residual != right.residual else ""


def differences(kind: str, capacities: Sequence[float]) -> list[float]:
    """Differences of neighbours by the name of the measure.

    Args:
        kind: ``squared``, ``log_ratio``, ``fall`` or ``rise``.
        capacities: One number a unit.

    Returns:
        One number a neighbouring pair.

    Raises:
        ConfigError: The name is none of these.
    """
    measures = {"squared": squared_differences, "log_ratio": log_ratios, "fall": falls, "rise": rises}
    if kind not in measures:
        raise one_of("difference", kind, measures)
    return measures[kind](capacities)
