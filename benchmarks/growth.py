"""Growth of time and memory: ``python -m benchmarks.growth``.

Chains of equal residual blocks, each block a unit: time against units and against steps, memory against units
and the size of the groups.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks import machine
from benchmarks.clock import interleaved, spread
from benchmarks.footprint import Footprint
from benchmarks.growth_plot import draw
from benchmarks.networks import BITS, IMAGES, calibrate, plan_of, random_images
from benchmarks.passes import reconstructed
from mrecg.graph.cut import cut
from mrecg.models.cifar import BasicBlock
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.system import devices


@dataclass(frozen=True)
class Sizes:
    """Sizes that are measured.

    Attributes:
        units: Lengths of the chain.
        steps_a_unit: Optimisation steps of a unit in them.
        steps: Optimisation steps of a unit in a chain of ``length`` units.
        length: Units of that chain.
        groups: Units in a group.
        rounds: Rounds that count.
        channels: Of every block.
        pixels: Of every activation.
    """

    units: tuple[int, ...] = (4, 8, 16, 32)
    steps_a_unit: int = 20
    steps: tuple[int, ...] = (10, 20, 40, 80)
    length: int = 8
    groups: tuple[int, ...] = (1, 2, 4)
    rounds: int = 12
    channels: int = 16
    pixels: int = 16


FULL, QUICK = Sizes(), Sizes(units=(4, 8), steps_a_unit=4, steps=(2, 4), length=4, rounds=1)


def chain(units: int, sizes: Sizes, device: torch.device) -> tuple[QuantizedNetwork, Tensor]:
    """Build and calibrate a chain of equal residual blocks."""
    shape = (sizes.channels, sizes.pixels, sizes.pixels)
    torch.manual_seed(0)
    model = nn.Sequential(*(BasicBlock(sizes.channels, sizes.channels, 1) for _ in range(units))).eval()
    parts = cut(model, input_shape=shape)
    network = QuantizedNetwork(parts.graph, parts.units, BITS).to(device)
    images = random_images(shape, device)
    calibrate(network, images)
    return network, images


def times(sizes: Sizes, device: torch.device) -> dict[str, list[dict[str, Any]]]:
    """Time whole reconstructions, all lengths and all steps in turn.

    Args:
        sizes: What is tried.

    Returns:
        ``units`` and ``steps``: one entry each, with median seconds and their spread.
    """
    chains = {units: chain(units, sizes, device) for units in {*sizes.units, sizes.length}}
    cases = [("units", k, k, sizes.steps_a_unit) for k in sizes.units]
    cases += [("steps", n, sizes.length, n) for n in sizes.steps]

    def work(units: int, steps: int) -> None:
        network, images = chains[units]
        reconstructed(network, images, plan_of(network), steps=steps)

    runs = {f"{axis} {x}": lambda k=k, n=n: work(k, n) for axis, x, k, n in cases}
    seconds = interleaved(runs, rounds=sizes.rounds, warmup=1, device=device)
    found: dict[str, list[dict[str, Any]]] = {"units": [], "steps": []}
    for axis, x, _, _ in cases:
        own = seconds[f"{axis} {x}"]
        found[axis].append({axis: x, "seconds": statistics.median(own), "spread": spread(own)})
    return found


def memory(sizes: Sizes, device: torch.device) -> Iterable[dict[str, Any]]:
    """Measure the memory of the cache and of one optimisation step, for every length and group size."""
    for units in sizes.units:
        network, images = chain(units, sizes, device)
        for size in sizes.groups:
            with Footprint() as footprint:
                found = reconstructed(network, images, plan_of(network, size), steps=1, steps_per="group")
            yield {"units": units, "group_size": size, "cache_mb": found.cache.peak_mb} | footprint.numbers()


def line(points: Sequence[dict[str, Any]], axis: str) -> dict[str, float]:
    """Fit a straight line to the seconds.

    Args:
        points: Entries of `times`.
        axis: ``units`` or ``steps``.

    Returns:
        ``slope`` (seconds per unit or per step), ``intercept`` (seconds) and ``r2``.
    """
    x, y = np.array([[p[axis], p["seconds"]] for p in points], dtype=float).T
    slope, intercept = np.polyfit(x, y, 1)
    rest = float(((y - slope * x - intercept) ** 2).sum())
    return {
        "slope": float(slope),
        "intercept": float(intercept),
        "r2": 1 - rest / float(((y - y.mean()) ** 2).sum()),
    }


def measure(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Measure everything."""
    found = times(sizes, device)
    return {
        "device": machine.describe(device),
        "settings": asdict(sizes) | {"images": IMAGES},
        **found,
        "lines": {axis: line(found[axis], axis) for axis in found},
        "memory": list(memory(sizes, device)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    machine.add_options(parser)
    parser.add_argument("--plot", type=Path, help="draw the numbers into this PNG file")
    chosen = parser.parse_args(arguments)
    device = devices.resolve_device(chosen.device)
    with machine.as_in_a_run():
        content = machine.rounded(measure(QUICK if chosen.quick else FULL, device)) | {"note": chosen.note}
    console = Console(width=140)
    for name in ("units", "steps", "memory"):
        for entry in content[name]:
            console.print(", ".join(f"{key} {value}" for key, value in entry.items()))
    for axis, found in content["lines"].items():
        console.print(f"{axis}: {found['slope']:.3g} s each + {found['intercept']:.3g} s, R² {found['r2']}")
    if chosen.json:
        machine.write(content, chosen.json)
    if chosen.plot:
        draw(content, chosen.plot)


if __name__ == "__main__":
    main()
