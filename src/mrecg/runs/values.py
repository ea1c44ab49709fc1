"""What the values of a run's files must be; one of `mrecg.system.checked_read.DAMAGED` where they are not."""

import math
from collections.abc import Mapping
from typing import Any


def strings(values: dict[str, Any]) -> dict[str, str]:
    """Texts, whatever they were."""
    return {key: str(value) for key, value in values.items()}


def whole(values: Mapping[str, Any]) -> dict[str, int]:
    """Counts; 0 for what is missing."""
    return {key: count(value or 0) for key, value in values.items()}


def clean(values: Any) -> Any:
    """Replace lone surrogates, which JSON can spell and no text file can hold."""
    if isinstance(values, str):
        return values if values.isascii() else values.encode("utf-8", "replace").decode("utf-8")
    if isinstance(values, dict):
        return {clean(key): clean(value) for key, value in values.items()}
    return [clean(value) for value in values] if isinstance(values, list) else values


_LARGEST = 1e100
"""Of an error or a loss, beyond what float32 can hold; sums and squares of what is below stay finite."""


def number(value: object) -> float:
    """A float; not a number for what is missing or overflowed, since a diverged run is a result too."""
    found = value if type(value) is float else float(str(value)) if value not in (None, "") else math.nan
    return found if abs(found) <= _LARGEST else math.nan


LONGEST = 1e12
"""Seconds, more than any run can take: what is beyond was not measured by us."""


def times(values: Mapping[str, object]) -> dict[str, float]:
    """Seconds, by stage."""
    return {str(key): within(float(str(value)), 0.0, LONGEST) for key, value in values.items()}


def within(value: float, low: float, high: float) -> float:
    """A number within its range; what is not, NaN included, no run has written."""
    if not low <= value <= high:
        raise ValueError(f"{value} is not between {low:g} and {high:g}")
    return value


def count(value: object) -> int:
    """A whole number, not below 0."""
    return int(within(int(str(value)), 0, 2**53))
