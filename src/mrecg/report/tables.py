"""The comparison table: one row a run, the same values for the page and the terminal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mrecg.config.schema import MERGING
from mrecg.report.compare import sort_key, top1
from mrecg.report.labels import open_count
from mrecg.runs import metrics
from mrecg.runs.metrics import Metric, Place, named
from mrecg.runs.records import Run, short_groups

NONE = "–"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value as shown and as sorted.

    Attributes:
        text: As shown.
        sort: As sorted: a number, or the text in lower case; None sorts last.
        note: What the short text leaves out; empty when nothing.
    """

    text: str
    sort: float | str | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run.

    Attributes:
        cells: By column key.
        best: Whether no other run of the same network, images and bit widths has a higher quantized top-1;
            False where there is no other.
    """

    run: Run
    cells: dict[str, Cell]
    best: bool


SETTINGS: dict[str, str] = {
    "run": "Run",
    "method": "Method",
    "granularity": "Granularity",
    "planner": "Planner",
    "pairs": "Pairs",
    "merged": "Merged groups",
    "bits": "Bits",
    "seed": "Seed",
    "steps": "Steps",
}
"""Titles of the columns that say what was run, by key, in order."""


def columns(place: Place = "table") -> dict[str, str]:
    """Titles by column key, in order: settings first, then the metrics.

    Args:
        place: Whose headings.
    """
    return SETTINGS | {metric.key: title for title, metric in named(place).items()}


def numeric() -> frozenset[str]:
    """Keys of the columns that hold numbers."""
    return frozenset({"pairs", "seed", "steps", *(metric.key for metric in metrics.METRICS)})


def comparison_rows(runs: Sequence[Run], shown: Sequence[Run] | None = None) -> list[Row]:
    """Make the rows of the comparison table.

    Args:
        runs: Any runs, in any order.
        shown: Those of them that get a row; None: all.

    Returns:
        One row a run, sorted; runs that did not complete stand last.
    """
    results: dict[tuple[object, ...], list[float]] = {}
    for run in runs:
        value = top1(run)
        if run.completed and value is not None:
            results.setdefault(rivals(run), []).append(value)
    highest = {key: max(values) for key, values in results.items() if len(values) > 1}
    return [
        Row(run=run, cells=_cells(run), best=_is_best(run, highest.get(rivals(run))))
        for run in sorted(runs if shown is None else shown, key=sort_key)
    ]


def percent(value: float | None, digits: int = 2) -> str:
    """Write a fraction of 1 as a percentage.

    Args:
        value: Fraction of 1, or None.
        digits: Decimals.

    Returns:
        Percent; a dash for None.

    >>> percent(0.95401)
    '95.40 %'
    """
    return NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def compact(value: float | None, digits: int = 3) -> str:
    """Write a number of any size in few characters.

    Args:
        value: A number, or None.
        digits: Significant digits.

    Returns:
        The number; a dash for None and for not a number.

    >>> compact(1234567.0), compact(0.5), compact(12.0)
    ('1.23e6', '0.5', '12')
    """
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


def size(value: float) -> str:
    """Write bytes as kB or MB.

    Args:
        value: Bytes.

    Returns:
        The size with its unit; a dash for 0.

    >>> size(412_000), size(1_650_000)
    ('412 kB', '1.65 MB')
    """
    if not value:
        return NONE
    return f"{value / 1e3:.0f} kB" if value < 1e6 else f"{value / 1e6:.2f} MB"


def _is_best(run: Run, highest: float | None) -> bool:
    return run.completed and highest is not None and top1(run) == highest


def rivals(run: Run) -> tuple[object, ...]:
    """What runs must share for the most accurate of them to be marked."""
    return (run.model, run.data, run.bits.weight, run.bits.activation)


def _cells(run: Run) -> dict[str, Cell]:
    merged, known = run.merged, run.steps > 0
    size_fp = f"{size(run.size_fp)} in floating point" if run.size_fp else ""
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in run.seconds.items())
    notes = {"seconds": stages, "size": size_fp}
    return {
        "run": Cell(text=run.name, sort=run.name.lower(), note="/".join(run.path.parts[-3:])),
        "method": Cell(text=run.method or NONE, sort=run.method or None),
        "granularity": Cell(text=run.granularity or NONE, sort=run.granularity or None),
        "planner": Cell(text=run.planner or NONE, sort=run.planner or None),
        "merged": Cell(
            text=short_groups(merged) if merged else "none" if run.granularity in MERGING else NONE,
            sort=float(len(merged)),
            note="; ".join("+".join(group) for group in merged),
        ),
        "pairs": Cell(text=_pairs(run), sort=float(_merged_pairs(run)) if run.groups else None),
        "bits": Cell(
            text=run.widths or NONE,
            sort=100.0 * run.bits.weight + run.bits.activation or None,
            note=_bits_note(run) if run.widths else "",
        ),
        "seed": Cell(text=str(run.seed) if known else NONE, sort=float(run.seed) if known else None),
        "steps": Cell(
            text=f"{run.steps:,}".replace(",", " ") if known else NONE,
            sort=float(run.steps) if known else None,
            note=f"per {run.steps_per}" if known else "",
        ),
        **{metric.key: _measured(metric, run, notes.get(metric.key, "")) for metric in metrics.METRICS},
    }


def _bits_note(run: Run) -> str:
    chosen = "" if run.average_bits is None else f"{run.average_bits:.2f} bits of a weight on average; "
    return f"{chosen}output of the first layer: {stem_bits(run)}"


def _merged_pairs(run: Run) -> int:
    return sum(len(group) - 1 for group in run.groups)


def _pairs(run: Run) -> str:
    """Pairs that are merged, and how many were to be where that is another number."""
    if not run.groups:
        return NONE
    merged = _merged_pairs(run)
    if run.options.get("planner.merge_count") == "auto":
        return f"{merged}, auto"
    if run.granularity != "mixed" or open_count(run) or run.merge_count == merged:
        return str(merged)
    return f"{merged} of {run.merge_count}"


def stem_bits(run: Run) -> str:
    """Say the convention for the first layer's output.

    Returns:
        "low (QDrop setting)" or "high (BRECQ setting)".
    """
    said = str(run.stem_output)
    setting = {"low": "QDrop setting", "high": "BRECQ setting", "8": "BRECQ setting"}.get(said)
    return f"{said} ({setting})" if setting else said


def _measured(metric: Metric, run: Run, note: str) -> Cell:
    value = metric.value(run)
    text = NONE if value is None else FORMATS[metric.format](value)
    return Cell(text=text, sort=value, note=note if value is not None else "")


FORMATS: dict[str, Callable[[float], str]] = {
    "percent": percent,
    "fixed": lambda value: f"{value:.3f}",
    "compact": compact,
    "seconds": lambda value: f"{value:.1f}",
    "bytes": size,
    "megabytes": lambda value: size(1e6 * value),
    "count": lambda value: f"{value:,.0f}",
}
"""How numbers are written, by `Metric.format`."""
