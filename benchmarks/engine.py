"""How far the reconstruction engine is from the hardware's limit: ``python -m benchmarks.engine``.

Each unit's optimisation step is timed against the floor of the same unit: forward, backward and fused Adam on
its full-precision weights, channels-last, same images, same process, the two taking turns. Ratios are what
counts; the milliseconds belong to the machine.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mrecg import environment
from mrecg.cache import Cache, Store
from mrecg.config.inputs import ModelConfig
from mrecg.config.methods import QDrop
from mrecg.config.paths import CONF
from mrecg.config.schema import BitsConfig, CacheConfig, CalibrationConfig
from mrecg.graph.cut import cut
from mrecg.models.build import build
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.cache import GroupCache, advance
from mrecg.reconstruct.engine import fit_in_chunks, quiet_lightning
from mrecg.reconstruct.methods import passes_of
from mrecg.reconstruct.unit_module import GroupReconstruction, reconstruction_loss

PIXELS = {"embedded": 32, "efficientnet_lite0": 96, "resnet18": 96, "resnet50": 96}
"""The networks, and the size of their images: small enough for minutes on a CPU."""
BATCH, IMAGES, CHUNK = 32, 64, 50


@dataclass(frozen=True, kw_only=True)
class UnitTimes:
    """One unit; medians over the rounds, milliseconds.

    Attributes:
        name: Of the unit.
        step_ms: One optimisation step (QDrop, W4A4, batch of 32).
        floor_ms: Forward, backward and Adam of the unit in full precision.
        spread: Third minus first quartile of the step, as a fraction of its median.
    """

    name: str
    step_ms: float
    floor_ms: float
    spread: float


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Run once and give the milliseconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begin)


def network_of(name: str, device: torch.device) -> tuple[QuantizedNetwork, Tensor]:
    """Build a network of conf/model, cut it, and draw images for it."""
    config = ModelConfig(**yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text()))
    shape = (3, PIXELS[name], PIXELS[name])
    parts = cut(build(config, seed=0).model, input_shape=shape)
    images = torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    network = QuantizedNetwork(parts.graph, parts.units, BitsConfig(weight=4, activation=4)).to(device)
    return network, images.to(device, memory_format=torch.channels_last)


def floor_of(unit: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    """Make the step that no method can do without."""
    own = copy.deepcopy(unit).requires_grad_(True)
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        reconstruction_loss(own(x), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def reconstruction_of(unit: nn.Module, cache: GroupCache, steps: int) -> GroupReconstruction:
    """Make the LightningModule that a run would make."""
    (task,) = passes_of(QDrop(), depthwise=True)
    for quantizer in activations_of(unit):
        quantizer.scale.requires_grad_(True)
    return GroupReconstruction(
        [unit], task=task, cache=cache, steps=steps, batch=BATCH, log_every=10, seed=0, report=lambda *_: None
    )


def finish(module: GroupReconstruction) -> None:
    """Take the soft weights back, and let the activation scales rest."""
    module.harden()
    for quantizer in activations_of(module):
        quantizer.scale.requires_grad_(False)


def unit_times(
    name: str, low: nn.Module, full: nn.Module, cache: GroupCache, *, rounds: int, device: torch.device
) -> UnitTimes:
    """Let the step and its floor take turns."""
    module = reconstruction_of(low, cache, steps=10_000)
    optimizer = module.configure_optimizers()
    floor = floor_of(full, next(cache.full.batches(BATCH)), next(cache.target.batches(BATCH)))
    ours: list[float] = []
    least: list[float] = []
    with quantization(low, activations="drop", drop=module.drop):
        for step in range(rounds + 2):  # the first two warm up; the regulariser is on, as in most steps
            at = 5000 + step
            ours.append(timed(lambda at=at: module.step(at, optimizer, log=False), device))  # type: ignore[misc]
            least.append(timed(floor, device))
    finish(module)
    ours, least = ours[2:], least[2:]
    quartiles = statistics.quantiles(ours, n=4)
    median = statistics.median(ours)
    return UnitTimes(
        name=name,
        step_ms=median,
        floor_ms=statistics.median(least),
        spread=(quartiles[2] - quartiles[0]) / median,
    )


def lightning_share(low: nn.Module, cache: GroupCache, steps: int, device: torch.device) -> float:
    """Fraction of a fit that is not spent in optimisation steps."""
    module = reconstruction_of(low, cache, steps)
    inside = 0.0
    step = module.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        begin = time.perf_counter()
        out = step(*args, **kwargs)
        inside += 1e3 * (time.perf_counter() - begin)
        return out

    module.step = counted  # type: ignore[method-assign]
    with quiet_lightning():
        whole = timed(lambda: fit_in_chunks(module, steps, CHUNK, device), device)
    finish(module)
    return 1 - inside / whole


def measure(name: str, *, rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure one network.

    Args:
        name: One of `PIXELS`.
        rounds: Steps that are timed in each unit.
        device: Where.

    Returns:
        ``overhead``, ``calibration_s``, ``weight_ranges_s``, ``calibration_passes`` and ``prefix_passes`` (in
        forward passes over the calibration images), ``lightning_share``, ``peak_memory_mb`` and ``units``.
    """
    environment.reset_peak_memory(device)
    network, images = network_of(name, device)
    kept = Cache(CacheConfig(), device)

    def forward() -> None:
        values = Store.of(images)
        for unit in network.full:
            values = advance(unit, values, kept, batch=BATCH)

    forward()
    one_pass = statistics.median(timed(forward, device) for _ in range(3))
    settings = CalibrationConfig()
    calibration = timed(lambda: list(network.calibrate(images, settings, batch=BATCH)), device)
    # With the extremes as weight ranges, which cost next to nothing, the search over activations is left.
    cheap = replace(settings, weight_range="minmax")
    activations = timed(lambda: list(network.calibrate(images, cheap, batch=BATCH)), device)
    weights = timed(
        lambda: [
            layer.calibrate(kind="lp", norm=settings.norm, candidates=settings.candidates)
            for unit in network.low
            for layer in layers_of(unit)
        ],
        device,
    )
    prefix = 0.0
    units: list[UnitTimes] = []
    share = 0.0
    full = quantized = Store.of(images)
    for i, unit in enumerate(network.units):
        low, plain = network.low[i], network.full[i]
        begin = time.perf_counter()
        target, behind = advance(plain, full, kept, batch=BATCH), advance(low, quantized, kept, batch=BATCH)
        prefix += 1e3 * (time.perf_counter() - begin)
        cache = GroupCache(quantized, full, target)
        units.append(unit_times(unit.name, low, plain, cache, rounds=rounds, device=device))
        if i == 1:
            share = lightning_share(low, cache, 4 * CHUNK, device)
        full, quantized = target, behind
    return {
        "overhead": sum(u.step_ms for u in units) / sum(u.floor_ms for u in units),
        "calibration_s": calibration / 1e3,
        "weight_ranges_s": weights / 1e3,
        "calibration_passes": activations / one_pass,
        "prefix_passes": prefix / one_pass,
        "lightning_share": share,
        "peak_memory_mb": environment.peak_memory_mb(device),
        "units": [asdict(unit) for unit in units],
    }


def table_of(name: str, found: dict[str, Any]) -> Table:
    """Lay one network's numbers out."""
    parts = [
        f"step / floor {found['overhead']:.2f}",
        f"weight ranges {found['weight_ranges_s']:.1f} s",
        f"activation ranges {found['calibration_passes']:.1f} forward passes",
        f"prefix {found['prefix_passes']:.1f} forward passes",
        f"Lightning {100 * found['lightning_share']:.1f} %",
        f"peak memory {found['peak_memory_mb']} MB",
    ]
    table = Table(title=f"{name}, {PIXELS[name]} px", caption="\n".join(parts), caption_justify="left")
    for column in ("unit", "step ms", "floor ms", "ratio", "spread"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for unit in found["units"]:
        table.add_row(
            unit["name"],
            f"{unit['step_ms']:.1f}",
            f"{unit['floor_ms']:.1f}",
            f"{unit['step_ms'] / unit['floor_ms']:.2f}",
            f"{100 * unit['spread']:.0f} %",
        )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--network", action="append", choices=list(PIXELS), help="only this one; repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    chosen = parser.parse_args(arguments)
    device = environment.resolve_device(chosen.device)
    console, networks = Console(width=140), {}
    for name in chosen.network or PIXELS:
        networks[name] = measure(name, rounds=4 if chosen.quick else 12, device=device)
        console.print(table_of(name, networks[name]))
    if chosen.json:
        content = {"device": environment.describe(device), "networks": networks}
        chosen.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
