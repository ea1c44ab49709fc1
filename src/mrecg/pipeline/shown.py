"""A result as a few lines, as HTML for a notebook, and its units as rows of a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.planner.schedule import Plan
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.events import UnitResult
from mrecg.runs.summary import RunSummary
from mrecg.runs.summary_parts import Accuracy
from mrecg.runs.text import number, percent

MOST_ROWS = 40
"""Units in the table of a notebook, at most."""


def facts_of(config: RunConfig, plan: Plan, values: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Say what was quantized, how, and what came out.

    Args:
        values: The content of summary.json.
        folder: The run folder; None: there is none.
    """
    groups, summary = plan.groups, RunSummary.readable(values, units=False)
    merged = sum(len(group) > 1 for group in groups)
    scores = [
        f"{metric} {value} {network}"
        for network, key, accuracy in (
            ("in full precision", "fp", summary.fp),
            ("quantized", "quantized", summary.quantized),
        )
        for metric, value in _scores(accuracy, (summary.metrics or {}).get(key, {}))
    ]
    facts = [
        f"{config.model.name}, {summary.widths}",
        f"method {config.method.name}, granularity {plan.granularity}, seed {config.seed}",
        f"{len(plan.units)} units in {len(groups)} groups, {merged} of them merged",
        ", ".join(scores) or _errors(summary.output_error) or "accuracy not measured",
    ]
    if summary.size_fp:
        facts.append(
            f"weights {summary.size_quantized / 1e3:,.1f} kB, {summary.size_fp / 1e3:,.1f} kB before"
        )
    if folder is not None:
        facts.append(f"folder {folder}")
    return facts


def _scores(accuracy: Accuracy | None, metrics: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    if accuracy is not None:
        yield "top-1", percent(accuracy.top1)
    for metric, value in metrics.items():
        yield metric, number(value)


def _errors(outputs: Mapping[str, Any] | None) -> str:
    """Say how far the outputs of a network that is no classifier are off; empty where unknown."""
    said = ", ".join(f"{name} {number(error)}" for name, error in (outputs or {}).items())
    return f"relative error of {said}" if said else ""


def unit_rows(network: QuantizedNetwork, plan: Plan, units: Sequence[UnitResult]) -> list[dict[str, Any]]:
    """List the units with their bits, sizes and errors.

    Args:
        network: The hardened network.
        units: What was measured after each unit.

    Returns:
        A record per unit, in network order; see `Result.units_frame`.
    """
    bits, rows = network.policy.layers, []
    groups = {name: "+".join(group) for group in plan.groups for name in group}
    layers = {unit.name: unit.layers for unit in network.units}
    for unit in units:
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


def as_html(facts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a result for a notebook: the facts, and a table of the units that can be folded out.

    Args:
        facts: From `facts_of`.
        rows: From `unit_rows`.
    """
    first, *rest = map(escape, facts)
    columns = ("unit", "group", "weight_bits", "weights", "error", "sqnr_db", "loss")
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in columns)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>and {len(rows) - MOST_ROWS} more: units_frame()</p>" * (len(rows) > MOST_ROWS)
    return (
        f"<div><b>{first}</b><br>{'<br>'.join(rest)}"
        f"<details><summary>{len(rows)} units</summary><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{more}</details></div>"
    )


def _cell(value: Any) -> str:
    return escape(number(value) if isinstance(value, float) else str(value))
