"""The machine of the numbers, and their file."""

import argparse
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from mrecg.reconstruct import computing
from mrecg.system import machine

FACTS = (
    *("device", "device_name", "threads", "memory_mb"),
    *("mrecg", "torch", "torchvision", "lightning", "numpy", "python"),
)


def describe(device: torch.device) -> dict[str, Any]:
    """Describe device and versions, without the names and paths of one machine."""
    facts = machine.describe(device)
    return {name: facts[name] for name in FACTS} | {"numba": machine.installed("numba")}


def as_in_a_run() -> AbstractContextManager[None]:
    """Compute as a run does, floors and passes too: its kernels, and its way with freed memory."""
    return computing.computing(threads=None, kernels="fused")


def write(content: dict[str, Any], path: Path) -> None:
    """Write JSON with four digits of every number: more would be noise."""
    path.write_text(json.dumps(rounded(content), indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Round every number inside to four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all measurements have."""
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument(
        "--note", default="", help="what else the machine did meanwhile; kept with the numbers"
    )
