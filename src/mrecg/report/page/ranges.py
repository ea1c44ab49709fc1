"""The weights of each unit against their grids, as the page gets them."""

from collections.abc import Mapping
from typing import Any

from mrecg.report.page.curves import significant
from mrecg.runs.records import Run


def weight_ranges(run: Run) -> list[dict[str, Any] | None]:
    """Describe the units of a run.

    Returns:
        One record a unit, None for those without quantized weights and where the file has something else;
        empty for old runs.
    """
    known = run.weight_ranges
    return [_record(known.get(name)) for name in run.unit_names] if known else []


def _record(found: Any) -> dict[str, Any] | None:
    if not isinstance(found, Mapping):
        return None
    bits, shares = found.get("bits"), [found.get(key) for key in ("at_ends", "clipped")]
    fractions = [share for share in shares if isinstance(share, int | float) and 0 <= share <= 1]
    if not isinstance(bits, list) or not bits or len(fractions) < len(shares):
        return None
    if not all(type(one) is int for one in bits):
        return None
    return {"bits": bits, "at_ends": significant(fractions[0], 4), "clipped": significant(fractions[1], 4)}
