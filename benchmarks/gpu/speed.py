"""Step / floor by kernels, CUDA graphs and precision; what waits for the device; memory."""

import copy
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.clock import interleaved
from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record
from benchmarks.networks import PIXELS, network_of, plan_of, subjects
from benchmarks.passes import reconstructed
from benchmarks.steps import FORMATS, floor_of
from mrecg.config.schema import Precision
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import computing
from mrecg.system import memory
from mrecg.system.tf32 import float32_as

FEW, MORE, CHUNK = 40, 140, 20
"""Steps a unit of two runs, whose difference is steps alone; and steps a chunk."""


@dataclass(frozen=True)
class Way:
    """One way to compute."""

    kernels: Literal["fused", "plain"] = "fused"
    graphs: bool = False
    precision: Precision = 32

    @property
    def name(self) -> str:
        """Name of the way, in words."""
        kind = {32: "float32", "tf32": "TF32", "bf16": "bf16"}[self.precision]
        return f"{kind}, {self.kernels}" + (", CUDA graphs" if self.graphs else "")


WAYS = (
    *(Way(), Way(graphs=True), Way(kernels="plain"), Way(precision="tf32"), Way(precision="bf16")),
    *(Way(graphs=True, precision="tf32"), Way(graphs=True, precision="bf16")),
    *(Way(kernels="plain", graphs=True), Way(kernels="plain", precision="bf16")),
)
"""What decides the defaults comes first, for all networks, before the rest."""
FIRST = 3


def measure(record: Record, options: Options) -> None:
    """Measure as many networks and ways as there is time for.

    Args:
        record: Takes what is found.
        options: The device; a rehearsal measures one network, in a few steps.
    """
    device, cost = options.device, 0.0
    names = ["embedded"] if options.rehearsal else list(PIXELS)
    ways = [way for way in WAYS if not options.rehearsal or way == Way()]
    made: dict[str, tuple[QuantizedNetwork, Tensor]] = {}
    for name, way in [(n, w) for part in (ways[:FIRST], ways[FIRST:]) for n in names for w in part]:
        item = f"{name}: {way.name}"
        if not record.has_time(item, cost):
            continue
        begin = time.monotonic()
        try:
            if name not in made:
                with computing.computing(threads=None, kernels="fused"):
                    made[name] = network_of(name, device)
            few, more = (2, 4) if options.rehearsal else (FEW, MORE)
            record.put(item, of_way(*made[name], way, few=few, more=more))
        except Exception as error:
            record.leave_out(item, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        cost = max(cost, time.monotonic() - begin)
    items = record.content["items"]
    ratios = [f"{item.replace(': ', ' ', 1)} {found['ratio']:.2f}" for item, found in items.items()]
    broken = [item for item, why in record.content["left_out"].items() if "s are left" not in why]
    record.end("step / floor: " + "; ".join(ratios), holds=bool(items) and not broken)


def of_way(network: QuantizedNetwork, images: Tensor, way: Way, *, few: int, more: int) -> dict[str, Any]:
    """Measure one network in one way.

    Args:
        network: Calibrated; it is copied.
        images: Its calibration images.
        way: How to compute.
        few: Steps a unit of the shorter run.
        more: Steps a unit of the longer run.

    Returns:
        ``step_ms`` and ``floor_ms`` of all units together; ``ratio``; ``waits``: how often the host waits
        for the device in a chunk; ``peak_mb`` of the device's memory in the longer run; ``way``.
    """
    device = images.device
    with computing.computing(threads=None, kernels=way.kernels, precision=way.precision):
        runs = [timed(network, images, way, steps) for steps in (few, few, more)]  # the first one compiles
        floor = sum(floors(network, images, way.precision))
    step = (runs[2].seconds - runs[1].seconds) / (more - few)
    chunks = (more - few) / CHUNK
    waits = None if device.type != "cuda" else (runs[2].waits - runs[1].waits) / chunks / len(network.units)
    return {
        "step_ms": 1e3 * step,
        "floor_ms": 1e3 * floor,
        "ratio": step / floor,
        "waits": waits,
        "peak_mb": runs[2].peak_mb,
        "way": asdict(way),
    }


@dataclass(frozen=True)
class Timed:
    """A run: seconds, how often the host waited for the device, and the device's memory at its highest."""

    seconds: float
    waits: int
    peak_mb: float


def timed(network: QuantizedNetwork, images: Tensor, way: Way, steps: int) -> Timed:
    """Reconstruct a copy of a network block by block."""
    own = copy.deepcopy(network)
    memory.reset_peak_memory(images.device)
    with waiting(images.device) as waits:
        begin = time.perf_counter()
        settings = {"chunk": CHUNK, "cuda_graphs": way.graphs}
        reconstructed(own, images, plan_of(own), steps=steps, precision=way.precision, **settings)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    return Timed(seconds, len(waits), memory.peak_memory_mb(images.device))


@contextmanager
def waiting(device: torch.device) -> Iterator[list[str]]:
    """Collect what torch says of operations that wait for the device."""
    found: list[str] = []
    if device.type != "cuda":
        yield found
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
            found += [str(one.message) for one in seen if "synchroniz" in str(one.message)]


def floors(network: QuantizedNetwork, images: Tensor, precision: Precision) -> list[float]:
    """Seconds of forward, backward and Adam of each unit in full precision, in the faster memory order."""
    found = []
    with (
        float32_as(precision),
        torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        for subject in subjects(network, images):
            runs = {name: floor_of(subject, order) for name, order in FORMATS.items()}
            times = interleaved(runs, rounds=5, warmup=2, device=images.device)
            found.append(min(statistics.median(values) for values in times.values()))
    return found
