"""Write docs/results/benchmarks.md from measured numbers.

``python -m benchmarks.report docs/benchmarks/cpu.json --growth docs/benchmarks/growth.json
-o docs/results/benchmarks.md``
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.pages import FOLDER, engine, found_in
from benchmarks.growth_plot import draw
from benchmarks.targets import TARGETS, Target, missed

Numbers = dict[str, Any]
Columns = Sequence[tuple[str, Callable[[Numbers], str]]]
"""Of a table: the head, and what it shows of an entry."""

HEAD = """# Benchmarks

This page measures how far the reconstruction engine is from what the hardware allows.
`python -m benchmarks.report` makes it from the numbers in `docs/benchmarks/`, and a test compares
the two. Milliseconds depend on the machine. Ratios that were taken in one process can be compared.

- **Step** is one optimisation step of a unit (QDrop, W4A4, 32 images, regulariser on, float32).
- **Floor** is forward, backward and fused Adam of the same unit on its full-precision weights, with
  images fetched beforehand, in the memory order (contiguous or channels-last) that is faster for
  it. Steps and floors are measured in turn. A floor also learns the biases, and its activation
  functions are operations of their own, which the step does together with the quantization. So a
  step may take less than its floor.
- **Step / floor** of a network is the sum of the medians of its steps over that of its floors. In
  brackets are the first and third quartile of the same ratio, round by round.
- **Plain** is the step with plain torch operations instead of the fused kernels (a few rounds).
- **Lightning** is the part of a fit of 200 steps that is not spent in steps. It is given for the
  unit with the cheapest step, where the part is largest, and for all units together.
- **Passes** are full-precision forward passes over the calibration images, timed in turn with the
  rest.
- **Activation ranges** is the search of all activation ranges.
- **Cache** is a whole walk over the network without optimisation: every unit is computed in full
  precision and quantized, written to the cache, and its error is taken.
- **Calibration** is the search of all ranges, of weights and activations.
- **Memory** is the peak of a whole run with two steps per unit, and what was in use before it (on a
  CPU that of the process, with Python and torch).
- **Loss** is the number of optimisation steps of the first unit with two or more layers until the
  loss of the hardened unit is down to a fraction of that of nearest rounding. The loss inside a
  step is no substitute, because soft rounding begins at the full-precision weights.
- **Serial**: a time T with p threads is taken for s + (T(1) - s) / p, with the serial part s from
  one and two threads. Step / floor with 16 threads follows from it. Noise counts double in it.
- **Growth** measures whole reconstructions of chains of equal residual blocks, each block a unit of
  its own. Memory is the peak of the cache, and of one step what is learned (with gradients and
  moments) and what waits for the backward pass, without the calibration images.

Images are random, and the ResNets have random weights. ± is half the range of the middle half of
the rounds. A number above its target is bold.
"""


def _range(spread: float) -> str:
    return f" ± {50 * spread:.0f} %"


def _sum(found: Numbers, key: str) -> float:
    return sum(float(unit[key]) for unit in found["units"])


def _gain(found: Numbers) -> str:
    if any(unit["plain_ms"] is None for unit in found["units"]):
        return "–"
    return f"{_sum(found, 'plain_ms') / _sum(found, 'step_ms'):.2f}"


def _goal(goal: Numbers) -> str:
    reached = f"{goal['steps']} steps, {goal['seconds']:.2g} s" if goal["steps"] else "not reached"
    return (
        f"{goal['unit']} to {goal['fraction']:g}: {reached} ({goal['method']}, {goal['bits']}, "
        f"learning rate {goal['lr_rounding']:g}, at most {goal['cap']})"
    )


UNITS: Columns = (
    ("unit", lambda unit: unit["name"]),
    ("step ms", lambda unit: f"{unit['step_ms']:.1f}{_range(unit['spread'])}"),
    ("floor ms", lambda unit: f"{unit['floor_ms']:.1f}{_range(unit['floor_spread'])}"),
    ("faster order", lambda unit: unit["floor_format"]),
    ("step / floor", lambda unit: f"{unit['step_ms'] / unit['floor_ms']:.2f}{_range(unit['ratio_spread'])}"),
    ("plain ms", lambda unit: "–" if unit["plain_ms"] is None else f"{unit['plain_ms']:.1f}"),
)
COSTS: Columns = (
    ("network", lambda found: f"`{found['name']}`"),
    ("images", lambda found: f"{found['images']}"),
    ("one pass s", lambda found: f"{found['pass_s']:.2f}"),
    ("calibration s", lambda found: f"{found['calibration_s']:.2f}"),
    ("cache s", lambda found: f"{found['prefix_s']:.2f}"),
    ("advancing alone, passes", lambda found: f"{found['advance_passes']:.2f}"),
    ("steps of all units ms", lambda found: f"{_sum(found, 'step_ms'):.0f}"),
    ("plain / step", _gain),
    ("Lightning, all units", lambda found: f"{100 * found['lightning_share_all']:.2f} %"),
    ("memory MB (before)", lambda found: f"{found['peak_memory_mb']} ({found['memory_before_mb']})"),
    ("loss", lambda found: _goal(found["steps_to_loss"])),
)
SCALING: Columns = (
    ("network", lambda found: f"`{found['name']}`"),
    ("steps of all units ms, one and two threads", lambda found: "{:.0f}, {:.0f}".format(*found["step"])),
    ("floors ms", lambda found: "{:.0f}, {:.0f}".format(*found["floor"])),
    ("serial: step, floor ms", lambda found: f"{found['step'][2]:.0f}, {found['floor'][2]:.0f}"),
    ("step / floor, 16 threads", lambda found: f"{found['step'][3] / found['floor'][3]:.2f}"),
)
LINES: Columns = (
    ("time against", lambda line: line["axis"]),
    ("held", lambda line: line["held"]),
    ("s for each", lambda line: f"{line['slope']:.3g}"),
    ("R² of the straight line", lambda line: f"{line['r2']:.3f}"),
)
MEMORY: Columns = (
    ("units in a group", lambda point: f"{point['group_size']}"),
    ("units", lambda point: f"{point['units']}"),
    ("cache MB", lambda point: f"{point['cache_mb']:.1f}"),
    ("learned MB", lambda point: f"{point['optimiser_mb']:.2f}"),
    ("for the backward pass MB", lambda point: f"{point['saved_mb']:.2f}"),
)


def page(machines: Sequence[tuple[str, Numbers]], growth: tuple[str, Numbers] | None, picture: str) -> str:
    """Put the page together.

    Args:
        machines: What `benchmarks.engine` wrote, each with the name of its file.
        growth: What `benchmarks.growth` wrote, with the name of its file.
        picture: Path of its picture, from the page.

    Returns:
        Markdown.
    """
    parts = [HEAD, *(section(file, content) for file, content in machines)]
    parts += scaling([content for _, content in machines])
    parts.append(engine(found_in(FOLDER)))
    if growth:
        parts.append(growth_section(*growth, picture))
    return "\n".join(parts)


def scaling(machines: Sequence[Numbers]) -> Iterator[str]:
    """Say how step and floor depend on the number of threads, for a machine measured with one and two."""
    for one in machines:
        for two in machines:
            names = {content["device"]["device_name"] for content in (one, two)}
            if len(names) == 1 and (one["device"]["threads"], two["device"]["threads"]) == (1, 2):
                shared = [name for name in one["networks"] if name in two["networks"]]
                rows = [_scaled(name, one["networks"][name], two["networks"][name]) for name in shared]
                yield f"## {names.pop()}, one and two threads\n\n{table(SCALING, rows)}\n"


def _scaled(name: str, one: Numbers, two: Numbers, threads: int = 16) -> Numbers:
    found: Numbers = {"name": name}
    for kind in ("step", "floor"):
        first, second = _sum(one, f"{kind}_ms"), _sum(two, f"{kind}_ms")
        serial = min(first, max(0.0, 2 * second - first))
        found |= {kind: (first, second, serial, serial + (first - serial) / threads)}
    return found


def section(file: str, content: Numbers) -> str:
    """Write what one machine gave."""
    device = content["device"]
    networks = [found | {"name": name} for name, found in content["networks"].items()]
    lines = [f"## {title(device)}", "", facts(device), ""]
    lines += [content["note"], ""] if content["note"] else []
    lines += [f"`{command('engine', file, device)}` (`--network NAME` replaces one network)", ""]
    lines += [table(targets(device["device"]), networks), "", verdict(content), ""]
    lines += [table(COSTS, networks), ""]
    for found in networks:
        lines += [f"### {found['name']}, {found['pixels']} pixels", "", table(UNITS, found["units"]), ""]
    return "\n".join(lines)


def title(device: Numbers) -> str:
    """Name a machine."""
    threads = "one thread" if device["threads"] == 1 else f"{device['threads']} threads"
    return f"{device['device_name']}" + (f", {threads}" if device["device"] == "cpu" else "")


def facts(device: Numbers) -> str:
    """List versions."""
    names = ("mrecg", "torch", "torchvision", "lightning", "numba", "numpy", "python")
    versions = ", ".join(f"{name} {device[name]}" for name in names)
    return f"Device `{device['device']}`, {device['memory_mb'] / 1024:.0f} GB of memory; {versions}."


def command(module: str, file: str, device: Numbers) -> str:
    """Give the command line that makes the numbers."""
    threads = f"OMP_NUM_THREADS={device['threads']} " if device["device"] == "cpu" else ""
    return f"{threads}python -m benchmarks.{module} --json docs/benchmarks/{file}"


def targets(device: str) -> Columns:
    """Make the columns that compare a network with the targets on a device."""

    def head(target: Target) -> str:
        only = f"{target.only} " if target.only else ""
        return f"{target.name} ({only}≤ {target.text(target.limit(device))})"

    def cell(target: Target, found: Numbers) -> str:
        text = target.text(found[target.key])
        text = f"**{text}**" if target.missed(found["name"], found, device) else text
        low, high = found["overhead_quartiles"]
        return f"{text} ({low:.2f} to {high:.2f})" if target.key == "overhead" else text

    columns = [(head(target), lambda found, target=target: cell(target, found)) for target in TARGETS]
    return [("network", lambda found: f"`{found['name']}`"), *columns]


def verdict(content: Numbers) -> str:
    """Tell which targets are missed."""
    device = content["device"]["device"]
    misses = [
        f"`{name}`: {target.name} {target.text(value)} (limit {target.text(target.limit(device))})"
        for name, target, value in missed(content)
    ]
    return f"Missed targets: {'; '.join(misses)}." if misses else "Every target is met."


def growth_section(file: str, content: Numbers, picture: str) -> str:
    """Write how time and memory grow."""
    sizes = content["settings"]
    held = {"units": f"{sizes['steps_a_unit']} steps per unit", "steps": f"{sizes['length']} units"}
    lines = [line | {"axis": axis, "held": held[axis]} for axis, line in content["lines"].items()]
    points = sorted(content["memory"], key=lambda point: (point["group_size"], point["units"]))
    text = ["## Growth", "", f"`{command('growth', file, content['device'])}`, {title(content['device'])}."]
    text += [content["note"]] if content["note"] else []
    text += [
        f"Medians of {sizes['rounds']} rounds in turn ({sizes['channels']} channels, {sizes['pixels']} "
        f"pixels, {sizes['images']} images).",
        *("", f"![Time against units and steps, memory against units]({picture})", ""),
        *(table(LINES, lines), "", table(MEMORY, points), ""),
    ]
    return "\n".join(text)


def table(columns: Columns, entries: Iterable[Numbers]) -> str:
    """Lay out a table, numbers to the right."""

    def rows() -> Iterator[Iterable[str]]:
        yield (head for head, _ in columns)
        for entry in entries:
            yield (text(entry) for _, text in columns)

    first, *others = (f"| {' | '.join(row)} |" for row in rows())
    return "\n".join([first, "|---|" + "---:|" * (len(columns) - 1), *others])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, write and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "numbers", type=Path, nargs="+", help="what benchmarks.engine wrote; one file a machine"
    )
    parser.add_argument("--growth", type=Path, help="what benchmarks.growth wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/benchmarks.md"))
    chosen = parser.parse_args(arguments)
    picture = Path("../images/growth.png")
    machines = [(path.name, json.loads(path.read_text())) for path in chosen.numbers]
    growth = (chosen.growth.name, json.loads(chosen.growth.read_text())) if chosen.growth else None
    if growth:
        draw(growth[1], chosen.output.parent / picture)
    chosen.output.write_text(page(machines, growth, picture.as_posix()))


if __name__ == "__main__":
    main()
