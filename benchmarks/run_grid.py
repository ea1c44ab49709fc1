"""Many synthetic run folders in little time: the files of a few, with other numbers."""

import importlib.util
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

WRITER = Path(__file__).parents[1] / "tests" / "assets" / "run_folders.py"
METHODS = ("adaround", "brecq", "brecq_joint", "qdrop", "pd_quant")
MODELS = ("mobilenet_v2", "efficientnet_lite0", "mnasnet", "resnet18")
BITS = ((2, 4), (3, 3), (4, 4), (2, 2), (4, 8))
RATES = (1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
MERGES = (0, 1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A run of the grid.

    Attributes:
        number: Its place.
        model: Name of its network.
        bits: Bits of weights and activations.
        method: Name of its method.
        merges: Groups that are merged.
        rate: Learning rate.
    """

    number: int
    model: str
    bits: tuple[int, int]
    method: str
    merges: int
    rate: float
    seed: int

    @property
    def overrides(self) -> list[str]:
        """Overrides that make it on the command line."""
        return [
            f"model={self.model}",
            f"bits=w{self.bits[0]}a{self.bits[1]}",
            f"method={self.method}",
            f"planner.merge_count={self.merges}",
            f"method.lr_rounding={self.rate}",
            f"seed={self.seed}",
        ]


def cells(count: int) -> Iterator[Cell]:
    """List runs: seeds change slowest, so that any number of runs has as many configurations as it can."""
    number = 0
    for seed in range(count):
        for model, bits, method, merges, rate in product(MODELS, BITS, METHODS, MERGES, RATES):
            if number == count:
                return
            yield Cell(
                number=number, model=model, bits=bits, method=method, merges=merges, rate=rate, seed=seed
            )
            number += 1


def write_grid(root: Path, count: int, *, images: int = 1000) -> Path:
    """Write a sweep of runs with everything that a report reads.

    Args:
        root: The folder; it is made.
        count: Runs.
        images: Evaluation images whose decisions each run keeps.
    """
    root.mkdir(parents=True)
    templates = _templates(images)
    jobs = []
    for cell in cells(count):
        folder = f"{cell.number}-{cell.method}"
        _write(root / folder, cell, templates[cell.method, cell.merges])
        jobs.append(
            {
                "number": cell.number,
                "identity": f"{cell.number:016x}",
                "folder": folder,
                "overrides": cell.overrides,
            }
        )
    content = {"schema_version": 1, "command": "mrecg quantize -m ...", "jobs": jobs}
    (root / "sweep.json").write_text(json.dumps(content))
    return root


def _templates(images: int) -> dict[tuple[str, int], dict[str, bytes]]:
    """The files of one run of each method and merge count."""
    writer = _writer()
    found = {}
    with tempfile.TemporaryDirectory() as made:
        for method, merges in product(METHODS, MERGES):
            folder = writer.write_run(
                Path(made) / f"{method}-{merges}", method=method, merged=writer.MERGED[:merges], kept=images
            )
            names = [f"{i % 10}/{i:05d}.png" for i in range(images)]
            (folder / "images.json").write_text(json.dumps({"evaluation": {"names": names}}))
            files = (file for file in folder.rglob("*") if file.is_file())
            found[method, merges] = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    return found


def _write(folder: Path, cell: Cell, files: dict[str, bytes]) -> None:
    (folder / "curves").mkdir(parents=True)
    for name, content in files.items():
        if name != "summary.json":
            (folder / name).write_bytes(content)
    summary: dict[str, Any] = json.loads(files["summary.json"])
    draw = random.Random(cell.number)
    worse = 1 + (4 - min(cell.bits)) * 0.5 + draw.uniform(-0.1, 0.1)
    for unit in summary["units"]:
        unit["error"] *= worse * draw.uniform(0.95, 1.05)
        unit["loss"] *= worse * draw.uniform(0.95, 1.05)
    summary["oscillation"] = {key: value * worse for key, value in summary["oscillation"].items()}
    summary["quantized"]["top1"] = max(0.01, summary["quantized"]["top1"] - 0.03 * worse)
    summary["timing_s"]["reconstruct"] *= (1 + 0.2 * METHODS.index(cell.method)) * draw.uniform(0.9, 1.1)
    summary["size_bytes"]["quantized"] = summary["size_bytes"]["quantized"] * cell.bits[0] // 2
    summary |= {
        "run_name": f"{cell.model}_{cell.method}_{cell.number}",
        "model": cell.model,
        "bits": {"weight": cell.bits[0], "activation": cell.bits[1]},
        "options": {"method.lr_rounding": cell.rate},
        "seed": cell.seed,
    }
    (folder / "config.yaml").write_text(
        f"name: run\nmodel:\n  name: {cell.model}\nmethod:\n  name: {cell.method}\n"
        f"  lr_rounding: {cell.rate}\nseed: {cell.seed}\n"
    )
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))


def _writer() -> ModuleType:
    """The module by which the tests write run folders."""
    found = importlib.util.spec_from_file_location("run_folders", WRITER)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
