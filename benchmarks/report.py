"""Write docs/benchmarks.md from measured numbers.

``python -m benchmarks.report docs/benchmarks/cpu.json --growth docs/benchmarks/growth.json
-o docs/benchmarks.md``
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.pages import FOLDER, engine, found_in
from benchmarks.growth_plot import draw
from benchmarks.remarks import growth_of_memory, remarks
from benchmarks.targets import TARGETS

HEAD = """# Benchmarks

How far the reconstruction engine is from what the hardware allows. Made by `python -m benchmarks.report` from
the numbers in `docs/benchmarks/`; a test compares. Milliseconds belong to the machine; ratios taken in one
process are what counts.

- **Step**: one optimisation step of a unit (QDrop, W4A4, 32 images, regulariser on, float32).
- **Floor**: forward, backward and fused Adam of the same unit on its full-precision weights, images fetched
  beforehand, in the memory order (contiguous or channels-last) that is faster for it. Step and floors take
  turns. It also learns the biases, and its activation functions are operations of their own, which the step
  does together with the quantization: so a step may take less than its floor.
- **Step / floor** of a network: the sum of the medians of its steps over that of its floors; in brackets the
  first and third quartile of the same ratio, round by round.
- **Plain**: the step with plain torch operations instead of the fused kernels (a few rounds).
- **Lightning**: the part of a fit of 200 steps that is not spent in steps, for the unit with the cheapest
  step, where the part is largest, and for all units together.
- **Passes** are full-precision forward passes over the calibration images, timed in turn with the rest.
  **Activation ranges**: the search of all activation ranges. **Cache**: a whole walk over the network without
  optimisation: every unit in full precision and quantized, written to the cache, errors taken.
- **Calibration**: all ranges, of weights and activations.
- **Memory**: the peak of a whole run with two steps a unit, and what was in use before it (on a CPU that of
  the process, with Python and torch).
- **Loss**: optimisation steps of the first unit with two or more layers until the loss of the hardened unit
  is down to a fraction of that of nearest rounding. (The loss inside a step would not do: soft rounding
  begins at the full-precision weights.)

Images are random; the ResNets have random weights. ± is half the range of the middle half of the rounds.
"""


def page(
    machines: Sequence[tuple[str, dict[str, Any]]], growth: tuple[str, dict[str, Any]] | None, picture: str
) -> str:
    """Put the page together.

    Args:
        machines: What `benchmarks.engine` wrote, each with the name of its file.
        growth: What `benchmarks.growth` wrote, likewise.
        picture: Path of its picture, from the page.

    Returns:
        Markdown.
    """
    parts = [HEAD, *(section(file, content) for file, content in machines)]
    parts.append(engine(found_in(FOLDER)))
    if growth:
        parts.append(growth_section(*growth, picture))
    return "\n".join(parts)


def section(file: str, content: dict[str, Any]) -> str:
    """Write what one machine gave."""
    networks = content["networks"]
    lines = [f"## {title(content['device'])}", "", facts(content["device"]), ""]
    lines += [content["note"], ""] if content["note"] else []
    lines += [f"`{command('engine', file, content['device'])}` (`--network NAME` replaces one network)", ""]
    lines += [table(*summary(content)), ""]
    lines += [f"- {remark}" for remark in remarks(content)] + [""]
    lines += [table(*costs(networks)), ""]
    for name, found in networks.items():
        lines += [f"### {name}, {found['pixels']} pixels", "", table(*units(found)), ""]
    return "\n".join(lines)


def title(device: dict[str, Any]) -> str:
    """Name a machine."""
    threads = "one thread" if device["threads"] == 1 else f"{device['threads']} threads"
    return f"{device['device_name']}" + (f", {threads}" if device["device"] == "cpu" else "")


def facts(device: dict[str, Any]) -> str:
    """List versions."""
    names = ("mrecg", "torch", "torchvision", "lightning", "numba", "numpy", "python")
    versions = ", ".join(f"{name} {device[name]}" for name in names)
    return f"Device `{device['device']}`, {device['memory_mb'] / 1024:.0f} GB of memory; {versions}."


def command(module: str, file: str, device: dict[str, Any]) -> str:
    """Say how the numbers are made."""
    threads = f"OMP_NUM_THREADS={device['threads']} " if device["device"] == "cpu" else ""
    return f"{threads}python -m benchmarks.{module} --json docs/benchmarks/{file}"


def summary(content: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Compare every network with the targets."""
    device = content["device"]["device"]
    head = ["network"] + [f"{t.name} (≤ {t.text(t.limit(device))})" for t in TARGETS]
    rows = []
    for name, found in content["networks"].items():
        row = [f"`{name}`"]
        for target in TARGETS:
            value = found[target.key]
            bound = target.only in ("", name)
            text = target.text(value)
            if bound and value > target.limit(device):
                text = f"**{text}**"
            row.append(text + (f" ({_quartiles(found)})" if target.key == "overhead" else ""))
        rows.append(row)
    head[4] = f"weight ranges ({TARGETS[3].only} ≤ {TARGETS[3].text(TARGETS[3].limit(device))})"
    return head, rows


def costs(networks: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Everything besides the targets."""
    head = [
        "network",
        "images",
        "one pass s",
        "calibration s",
        "cache s",
        "advancing alone, passes",
        "steps of all units ms",
    ]
    head += ["Lightning, all units", "memory MB (before)", "loss"]
    rows = []
    for name, found in networks.items():
        goal = found["steps_to_loss"]
        reached = f"{goal['steps']} steps, {goal['seconds']:.2g} s" if goal["steps"] else "not reached"
        rows.append(
            [
                f"`{name}`",
                f"{found['images']}",
                f"{found['pass_s']:.2f}",
                f"{found['calibration_s']:.2f}",
                f"{found['prefix_s']:.2f}",
                f"{found['advance_passes']:.2f}",
                f"{sum(unit['step_ms'] for unit in found['units']):.0f}",
                f"{100 * found['lightning_share_all']:.2f} %",
                f"{found['peak_memory_mb']} ({found['memory_before_mb']})",
                f"{goal['unit']} to {goal['fraction']:g}: {reached} ({goal['method']}, {goal['bits']}, "
                f"learning rate {goal['lr_rounding']:g}, at most {goal['cap']})",
            ]
        )
    return head, rows


def units(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The units of one network."""
    head = ["unit", "step ms", "floor ms", "faster order", "step / floor", "plain ms"]
    rows = [
        [
            unit["name"],
            f"{unit['step_ms']:.1f} ± {50 * unit['spread']:.0f} %",
            f"{unit['floor_ms']:.1f} ± {50 * unit['floor_spread']:.0f} %",
            unit["floor_format"],
            f"{unit['step_ms'] / unit['floor_ms']:.2f} ± {50 * unit['ratio_spread']:.0f} %",
            "–" if unit["plain_ms"] is None else f"{unit['plain_ms']:.1f}",
        ]
        for unit in found["units"]
    ]
    return head, rows


def growth_section(file: str, content: dict[str, Any], picture: str) -> str:
    """Write how time and memory grow."""
    sizes, lines = content["settings"], content["lines"]
    text = [
        *("## Growth", "", f"`{command('growth', file, content['device'])}`, {title(content['device'])}."),
        content["note"],
        "",
        "Chains of equal residual blocks, one block a unit: whole reconstructions, medians of "
        f"{sizes['rounds']} rounds in turn ({sizes['channels']} channels, {sizes['pixels']} pixels, "
        f"{sizes['images']} images).",
        *("", f"![Time against units and steps, memory against units]({picture})", ""),
        f"- Time against units: {lines['units']['slope']:.3g} s a unit at {sizes['steps_a_unit']} steps, "
        f"R² of the straight line {lines['units']['r2']:.3f}.",
        f"- Time against steps: {lines['steps']['slope']:.3g} s a step of {sizes['length']} units, R² of the "
        f"straight line {lines['steps']['r2']:.3f}.",
        f"- {growth_of_memory(content['memory'])}",
        *("", table(*memory(content["memory"])), ""),
    ]
    return "\n".join(text)


def memory(points: Iterable[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Memory for every length and group size."""
    head = ["units in a group", "units", "cache MB", "learned MB", "for the backward pass MB"]
    rows = [
        [
            f"{p['group_size']}",
            f"{p['units']}",
            f"{p['cache_mb']:.1f}",
            f"{p['optimiser_mb']:.2f}",
            f"{p['saved_mb']:.2f}",
        ]
        for p in sorted(points, key=lambda p: (p["group_size"], p["units"]))
    ]
    return head, rows


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table, numbers to the right."""
    head = list(head)
    line = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)])


def _quartiles(found: dict[str, Any]) -> str:
    low, high = found["overhead_quartiles"]
    return f"{low:.2f} to {high:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, write and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "numbers", type=Path, nargs="+", help="what benchmarks.engine wrote; one file a machine"
    )
    parser.add_argument("--growth", type=Path, help="what benchmarks.growth wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/benchmarks.md"))
    chosen = parser.parse_args(arguments)
    picture = Path("images") / "growth.png"
    machines = [(path.name, json.loads(path.read_text())) for path in chosen.numbers]
    growth = (chosen.growth.name, json.loads(chosen.growth.read_text())) if chosen.growth else None
    if growth:
        draw(growth[1], chosen.output.parent / picture)
    chosen.output.write_text(page(machines, growth, picture.as_posix()))


if __name__ == "__main__":
    main()
