"""A result as a few lines, as HTML for a notebook, and its units as rows of a table."""

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from mrecg.quant.modules import QuantizedLayer
from mrecg.runs.text import number, percent

if TYPE_CHECKING:
    from mrecg.pipeline.result import Result

MOST_ROWS = 40
"""Units in the table of a notebook, at most."""


def facts_of(result: "Result") -> list[str]:
    """Say what was quantized, how, and what came out."""
    config, groups, summary = result.config, result.plan.groups, result.summary
    merged = sum(len(group) > 1 for group in groups)
    scores = [
        f"{metric} {value} {network}"
        for network, key in (("in full precision", "fp"), ("quantized", "quantized"))
        for metric, value in _scores(summary, key)
    ]
    size = summary.get("size_bytes") or {}
    facts = [
        f"{config.model.name}, W{config.bits.weight}A{config.bits.activation}",
        f"method {config.method.name}, granularity {result.plan.granularity}, seed {config.seed}",
        f"{len(result.plan.units)} units in {len(groups)} groups, {merged} of them merged",
        ", ".join(scores) or "accuracy not measured",
    ]
    if {"fp", "quantized"} <= size.keys():
        facts.append(f"weights {size['quantized'] / 1e3:,.1f} kB, {size['fp'] / 1e3:,.1f} kB before")
    if result.folder is not None:
        facts.append(f"folder {result.folder}")
    return facts


def _scores(summary: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    if (found := summary.get(key)) is not None:
        yield "top-1", percent(found["top1"])
    for metric, value in ((summary.get("metrics") or {}).get(key) or {}).items():
        yield metric, number(value)


def unit_rows(result: "Result") -> list[dict[str, Any]]:
    """List the units with their bits, sizes and errors.

    Returns:
        A record per unit, in network order; see `Result.units_frame`.
    """
    network = result.network
    bits, rows = network.policy.layers, []
    groups = {name: "+".join(group) for group in result.plan.groups for name in group}
    layers = {unit.name: unit.layers for unit in network.units}
    for unit in result.units:
        own = [network.model.get_submodule(path) for path in layers.get(unit.name, ())]
        counts = [part.integers.numel() if isinstance(part, QuantizedLayer) else 0 for part in own]
        widths = [bits.get(path, 0) for path in layers.get(unit.name, ())]
        size = sum(count * width for count, width in zip(counts, widths, strict=True))
        rows.append(
            {
                "unit": unit.name,
                "group": groups.get(unit.name, unit.name),
                "layers": len(own),
                "weight_bits": "/".join(map(str, sorted(set(widths)))),
                "weights": sum(counts),
                "bytes": math.ceil(size / 8),
                "error": unit.error,
                "sqnr_db": -10 * math.log10(unit.error) if unit.error > 0 else math.inf,
                "loss": unit.loss,
            }
        )
    return rows


def as_html(result: "Result") -> str:
    """Write a result for a notebook: the facts, and a table of the units that can be folded out."""
    first, *facts = map(escape, facts_of(result))
    rows = unit_rows(result)
    columns = ("unit", "group", "weight_bits", "weights", "error", "sqnr_db", "loss")
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in columns)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>and {len(rows) - MOST_ROWS} more: units_frame()</p>" * (len(rows) > MOST_ROWS)
    return (
        f"<div><b>{first}</b><br>{'<br>'.join(facts)}"
        f"<details><summary>{len(rows)} units</summary><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{more}</details></div>"
    )


def _cell(value: Any) -> str:
    return escape(number(value) if isinstance(value, float) else str(value))
