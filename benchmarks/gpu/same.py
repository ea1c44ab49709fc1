"""One small run on CPU and device: the same integers and losses; twice and resumed there: the same bits."""

import csv
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record
from mrecg import load
from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.pipeline import run as pipeline
from mrecg.quant.modules import QuantizedLayer
from mrecg.reconstruct import computing
from mrecg.reconstruct.group_module import GroupReconstruction

METHODS = ("qdrop", "brecq_joint", "rtn")
TOLERANCE = 1e-4
"""Of a loss, relative: sums are taken in other orders."""
TIE = 1e-3
"""A weight that lies so near to the middle between two integers, in steps, may be rounded either way."""
FILES = ("quantized.safetensors", "units.csv", "plan.json", "decisions.csv")
STOP_AFTER = 3
"""Chunks after which the run that is resumed has been stopped."""


class Stop(Exception):  # noqa: N818
    """Stands for the end of a process."""


def config_of(method: str, device: torch.device, **trainer: Any) -> RunConfig:
    """The embedded network, 64 digits, ten steps a unit."""
    return run_config(
        {
            "model": {"name": "mobilenet_v2_digits", "source": "embedded"},
            "data": {"name": "digits", "calibration_images": 64, "evaluation_images": 200},
            "bits": {"weight": 4, "activation": 4},
            "method": {"name": method},
            "granularity": {"name": "block"},
            "trainer": {
                **{"steps": 10, "batch_size": 16, "chunk": 5, "log_every": 1, "device": str(device)},
                **trainer,
            },
            "shared": {"folder": None},
            "checkpoint": {"every_steps": 5},
            "logger": {"wandb": "disabled"},
        }
    )


def measure(record: Record, options: Options) -> None:
    """Run, compare, and say how large the differences are.

    Args:
        record: Takes what is found.
        options: The device.
    """
    ways: dict[str, dict[str, Any]] = {"": {"cuda_graphs": False}}
    if not options.rehearsal:
        ways |= {
            " with CUDA graphs": {"cuda_graphs": True},
            " with plain kernels": {"kernels": "plain", "cuda_graphs": False},
        }
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        for method in METHODS[: 1 if options.rehearsal else None]:
            cpu = run(config_of(method, torch.device("cpu")), Path(place, method, "cpu"))
            for way, trainer in ways.items() if method != "rtn" else [("", {})]:
                name = f"{method}{way}"
                config = config_of(method, options.device, **trainer)
                folder = Path(place, name)
                first = run(config, folder / "first")
                found = {"cpu": compared(cpu, first)}
                found["twice"] = {"differ": differing(first, run(config, folder / "again"))}
                found["resumed"] = {"differ": differing(first, stopped(config, folder / "stopped"))}
                record.put(name, found)
                if not all(part.get("holds", not part.get("differ")) for part in found.values()):
                    wrong.append(name)
    made = len(record.content["items"])
    fault = f"; not {', '.join(wrong)}" if wrong else ""
    record.end(f"{made - len(wrong)} of {made} hold{fault}", holds=not wrong)


def run(config: RunConfig, folder: Path) -> Path:
    """Make a run."""
    with computing.computing_as(config):
        pipeline.run(config, folder)
    return folder


def stopped(config: RunConfig, folder: Path) -> Path:
    """Make a run that is stopped in the middle of a group, and goes on."""
    real, seen = GroupReconstruction.training_step, list[int]()

    def chunk(module: GroupReconstruction, edges: Any) -> None:
        real(module, edges)
        seen.append(1)
        if len(seen) == STOP_AFTER:
            raise Stop

    with patch.object(GroupReconstruction, "training_step", chunk):
        try:
            return run(config, folder)  # rounding to nearest has no steps
        except Stop:
            return run(config, folder)


def differing(one: Path, other: Path) -> list[str]:
    """List the files that are not the same, byte by byte."""
    names = [*FILES, *(f"curves/{path.name}" for path in (one / "curves").iterdir())]
    return [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]


def compared(one: Path, other: Path) -> dict[str, Any]:
    """Compare what was found on two devices.

    Args:
        one: Folder of the run on the CPU.
        other: That on the device.

    Returns:
        ``weights``; ``differ``: how many have another integer; ``ties``: how many of them lie on an edge for
        rounding to nearest (what was learned may differ where a soft weight lies on one, which the finished
        run does not keep); ``loss``: largest relative difference of a reconstruction loss in the first unit,
        and ``loss_all`` in all; ``error``: of an error of units; ``top1``: of both; ``holds``.
    """
    first, second = (load(folder).model for folder in (one, other))
    weights = differ = ties = 0
    for a, b in zip(first.modules(), second.modules(), strict=True):
        if isinstance(a, QuantizedLayer) and isinstance(b, QuantizedLayer):
            unequal = a.integers != b.integers
            weights, differ = weights + unequal.numel(), differ + int(unequal.sum())
            ties += int((unequal & on_edge(a)).sum())
    losses = [relative(rows(one, name), rows(other, name)) for name in curves(one)]
    errors = relative(column(one / "units.csv", "error"), column(other / "units.csv", "error"))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    found: dict[str, Any] = {
        "weights": weights,
        "differ": differ,
        "ties": ties,
        "loss": losses[0] if losses else 0.0,
        "loss_all": max(losses, default=0.0),
        "error": errors,
        "top1": [summary["quantized"]["top1"] for summary in summaries],
    }
    learned = bool(losses)
    return found | {"holds": found["loss"] <= TOLERANCE and (learned or differ == ties)}


def on_edge(layer: QuantizedLayer) -> Tensor:
    """Tell which weights lie between two integers, up to `TIE` steps."""
    steps = layer.reference.detach() / layer.grid[0]
    return (steps - steps.floor() - 0.5).abs() < TIE


def curves(folder: Path) -> list[str]:
    """Names of the curves, that of the first unit first."""
    with (folder / "units.csv").open(newline="") as stream:
        first = next(csv.DictReader(stream))["name"]
    names = sorted(path.name for path in (folder / "curves").iterdir())
    return sorted(names, key=lambda name: not name.startswith(f"{first}."))


def rows(folder: Path, name: str) -> list[float]:
    """The reconstruction losses of a curve."""
    return column(folder / "curves" / name, "reconstruction")


def column(path: Path, name: str) -> list[float]:
    """Read a column of numbers."""
    with path.open(newline="") as stream:
        return [float(row[name]) for row in csv.DictReader(stream) if row.get(name)]


def relative(one: list[float], other: list[float]) -> float:
    """Largest difference, relative to the first; infinite where there are more of one than of the other."""
    if len(one) != len(other):
        return float("inf")
    return max((abs(a - b) / max(abs(a), 1e-12) for a, b in zip(one, other, strict=True)), default=0.0)
