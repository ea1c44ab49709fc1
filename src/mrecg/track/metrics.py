"""The one list of metric names that W&B knows a run's curves by."""

CURVE = ("reconstruction", "rounding", "prediction", "total", "beta")
"""Quantities of an optimisation curve, each against the group's own step axis."""


def curve_key(group: str, task: str, quantity: str) -> str:
    """Key of an optimisation curve.

    Args:
        group: Name of the group.
        task: Name of the method's pass.
        quantity: One of `CURVE`, or ``step``.

    Returns:
        For example ``unit/features.3+features.4/joint/total``.
    """
    return f"unit/{group}/{task}/{quantity}"


UNIT_INDEX = "network/unit"
"""Step axis of all curves over the units: 0 for the first."""
UNIT_ERROR = "network/error"
"""Relative error behind each base unit."""
UNIT_LOSS = "network/loss"
"""Reconstruction loss behind each base unit."""


def capacity_key(name: str) -> str:
    """Key of a capacity over the units.

    Args:
        name: ``modcap``, ``loss`` or ``error``.

    Returns:
        For example ``network/capacity/modcap``.
    """
    return f"network/capacity/{name}"
