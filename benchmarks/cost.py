"""Cost of runs, from measured steps; ``python -m benchmarks.cost`` prints the tables of the scaling page."""

import json
import sys
from pathlib import Path
from typing import Any

from mrecg.report.collection import read_collection

ROOT = Path(__file__).parents[1]
CPU, METHODS_OF = (
    ROOT / "docs" / "benchmarks" / "cpu.json",
    ROOT / "docs" / "results" / "resnet20-methods.json",
)
PIXELS = {"embedded": 32, "efficientnet_lite0": 224, "resnet18": 224, "resnet50": 224}
STEPS, IMAGES, GPUS = 20_000, 1024, 1000
"""Steps per unit and calibration images as published; the GPUs of the month."""
HOURS = 30 * 24
SPEEDUPS = (20, 50, 100)
"""Assumed: how many times as fast as one of our CPU threads a GPU takes a step."""


def method_factors() -> dict[str, float]:
    """Time of the reconstruction of each method over that of qdrop, ResNet-20, equal steps."""
    seconds: dict[str, float] = {}
    for run in sorted(read_collection(METHODS_OF), key=lambda run: len(run.options)):  # defaults first
        if run.granularity in ("block", "layer"):
            seconds.setdefault(run.method, run.seconds["reconstruct"])
    return {method: value / seconds["qdrop"] for method, value in seconds.items()}


def core_hours(name: str, network: dict[str, Any], factor: float) -> float:
    """Hours of one CPU thread for a run.

    Args:
        name: Name of the network.
        network: Its entry in docs/benchmarks/cpu.json.
        factor: Of the method.

    Returns:
        Hours: steps, and calibration and cache in proportion to images and pixels.
    """
    area = (PIXELS[name] / network["pixels"]) ** 2
    step = sum(unit["step_ms"] for unit in network["units"]) / 1000
    once = (network["calibration_s"] + network["prefix_s"]) * IMAGES / network["images"]
    return (STEPS * step * factor + once) * area / 3600


def tables() -> str:
    """The tables in Markdown."""
    networks = json.loads(CPU.read_text())["networks"]
    factors = method_factors()
    lines = ["| network | pixels | " + " | ".join(f"`{method}`" for method in factors) + " |"]
    lines.append("|---|---:|" + "---:|" * len(factors))
    lines.append("| factor | | " + " | ".join(f"{value:.2f}" for value in factors.values()) + " |")
    for name, network in networks.items():
        hours = (core_hours(name, network, factor) for factor in factors.values())
        lines.append(f"| `{name}` | {PIXELS[name]} | " + " | ".join(f"{value:.1f}" for value in hours) + " |")
    heads = " | ".join(f"GPU h a run, S = {s} | runs in the month, S = {s}" for s in SPEEDUPS)
    lines += ["", f"| network, `qdrop` | CPU h a run | {heads} |", "|---|---:|" + "---:|" * 2 * len(SPEEDUPS)]
    for name, network in networks.items():
        hours_ = core_hours(name, network, 1.0)
        parts = (f"{hours_ / s:.3f} | {GPUS * HOURS * s / hours_:,.0f}" for s in SPEEDUPS)
        lines.append(f"| `{name}` | {hours_:.1f} | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tables())
