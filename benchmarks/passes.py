"""Work of a run besides optimising, counted in forward passes: ranges, the rolling cache, memory."""

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.clock import interleaved, spread
from benchmarks.networks import BATCH, EVAL_BATCH, PRECISION, calibrate, plan_of, subjects
from mrecg.config.schema import CacheConfig, CalibrationConfig, Precision, TrainerConfig
from mrecg.methods import MethodSettings
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.planner.schedule import Plan
from mrecg.quant.modules import layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.system.memory import peak_memory_mb, reset_peak_memory


def reconstructed(
    network: QuantizedNetwork,
    images: Tensor,
    plan: Plan,
    *,
    steps: int,
    method: MethodSettings | None = None,
    precision: Precision = PRECISION,
    **trainer: Any,
) -> Reconstruction:
    """Reconstruct a calibrated network as a run does.

    Args:
        images: Calibration images.
        plan: Its groups.
        steps: Optimisation steps.
        method: None: QDrop. With `Rtn` nothing is learned: the cache advances, and the errors are taken.
        **trainer: Other settings of the trainer.

    Returns:
        The outcome.
    """
    return reconstruct(
        network,
        images,
        plan,
        Settings(
            method=method or QDrop(),
            trainer=TrainerConfig(steps=steps, batch_size=BATCH, **trainer),
            cache=CacheConfig(),
            precision=precision,
            seed=0,
            eval_batch=EVAL_BATCH,
        ),
    )


@torch.no_grad()
def forward(network: QuantizedNetwork, images: Tensor) -> None:
    """Run the network once in full precision: the pass that everything else is counted in."""
    for x in torch.split(images, EVAL_BATCH):
        for unit in network.full:
            x = unit(x)  # noqa: PLW2901


def passes(network: QuantizedNetwork, images: Tensor, *, rounds: int) -> dict[str, Any]:
    """Time the ranges and the cache, in turn with forward passes.

    Args:
        network: A network; it is calibrated afterwards.
        images: Calibration images.
        rounds: Rounds that count.

    Returns:
        Medians, and for each number of passes its spread.
    """
    settings, plan = CalibrationConfig(), plan_of(network)
    extremes = replace(settings, weight_range="minmax")

    def weights(kind: CalibrationConfig) -> None:
        for layer in (layer for unit in network.low for layer in layers_of(unit)):
            layer.calibrate(kind=kind.weight_range, norm=kind.norm, candidates=kind.candidates)

    times = interleaved(
        {
            "pass": lambda: forward(network, images),
            "all": lambda: calibrate(network, images, settings),
            "weights": lambda: weights(settings),
            # With the extremes as weight ranges, less the time of those, the activations are left.
            "extremes and activations": lambda: calibrate(network, images, extremes),
            "extremes": lambda: weights(extremes),
            "advance": lambda: deque(subjects(network, images), maxlen=0),
            "prefix": lambda: reconstructed(network, images, plan, steps=1, method=Rtn()),
        },
        rounds=rounds,
        warmup=1,
        device=images.device,
    )
    calibrate(network, images)
    one = times["pass"]
    both = times["extremes and activations"]
    activations = [a - b for a, b in zip(both, times["extremes"], strict=True)]
    return {
        "pass_s": statistics.median(one),
        "calibration_s": statistics.median(times["all"]),
        "weight_ranges_s": statistics.median(times["weights"]),
        "calibration_passes": statistics.median(activations) / statistics.median(one),
        "calibration_passes_spread": _spread_of_passes(activations, one),
        "prefix_s": statistics.median(times["prefix"]),
        "prefix_passes": statistics.median(times["prefix"]) / statistics.median(one),
        "advance_passes": statistics.median(times["advance"]) / statistics.median(one),
        "prefix_passes_spread": _spread_of_passes(times["prefix"], one),
    }


def memory(network: QuantizedNetwork, images: Tensor) -> dict[str, Any]:
    """Reconstruct with two steps per unit.

    Args:
        network: A calibrated network; it is calibrated again afterwards.
        images: Calibration images.

    Returns:
        The peak, what was in use before (on a CPU that of the process, with Python and torch), and the peak
        of the cache in it, MB.
    """
    reset_peak_memory(images.device)
    before = peak_memory_mb(images.device)
    found = reconstructed(network, images, plan_of(network), steps=2)
    peak = peak_memory_mb(images.device)
    calibrate(network, images)
    return {"peak_memory_mb": peak, "memory_before_mb": before, "cache_mb": found.cache.peak_mb}


def _spread_of_passes(seconds: Sequence[float], one: Sequence[float]) -> float:
    return spread([a / b for a, b in zip(seconds, one, strict=True)])
