"""The weights and activations of each unit against their grids, as the page gets them."""

from collections.abc import Mapping, Sequence
from typing import Any

from mrecg.report.page.curves import significant
from mrecg.runs.records import Run


def weight_ranges(run: Run) -> list[dict[str, Any] | None]:
    """Describe the weights of the units of a run.

    Returns:
        One record a unit, None for those without quantized weights and where the file has something else;
        empty for old runs.
    """
    return _records(run, run.weight_ranges, ("at_ends", "clipped"))


def activation_ranges(run: Run) -> list[dict[str, Any] | None]:
    """Describe the activations of the units of a run, as `weight_ranges` does."""
    return _records(run, run.activation_ranges, ("at_bottom", "at_top", "clipped_bottom", "clipped_top"))


def _records(run: Run, known: Mapping[str, Any] | None, shares: Sequence[str]) -> list[dict[str, Any] | None]:
    return [_record(known.get(name), shares) for name in run.unit_names] if known else []


def _record(found: Any, shares: Sequence[str]) -> dict[str, Any] | None:
    if not isinstance(found, Mapping):
        return None
    bits, values = found.get("bits"), {key: found.get(key) for key in shares}
    if not isinstance(bits, list) or not bits or not all(type(one) is int for one in bits):
        return None
    if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in values.values()):
        return None
    return {"bits": bits, **{key: significant(share, 4) for key, share in values.items()}}
