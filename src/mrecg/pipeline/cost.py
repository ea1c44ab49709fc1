"""What a run is going to cost, said before its first step: steps, time and memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mrecg.config.schema import RunConfig
from mrecg.graph.cut import Cut
from mrecg.graph.unit_facts import UnitFacts
from mrecg.methods import optimises
from mrecg.methods.passes import Pass
from mrecg.pipeline.probe_run import steps_of
from mrecg.planner.budget import step_cost
from mrecg.planner.plan import needs_probe, needs_trials
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.correction import BATCH
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.step_counts import group_steps, ranges_of, settling_steps
from mrecg.runs.text import duration, memory, plural
from mrecg.system.process_memory import memory_in_use

FORWARD, SHOWN, TRIES = 6.0, 4, 3
"""A step's time in forward passes of its group (forward, two for backward, quantization), the images of the
pass that is measured, and how often it is: the fastest counts, because other processes only slow it down."""
ENOUGH_S = 0.1
"""Passes that took so long together are enough: a plan waits for them, and its cost is an estimate."""
STEP_S = 3e-3
"""Seconds of a step that do not depend on the images: a small network's steps consist of it."""
STREAMS, KEPT, MB = 3, 3, 2**20
"""Tensors in the cache at a time (quantized, full precision, target), and copies that a step makes of what it
keeps for its backward pass."""
TRIALS = 4
"""A probe that tries merges, in probes that do not."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """An estimate.

    Attributes:
        steps: Optimisation steps of the reconstruction, at most: held-out images may take merges back.
        seconds: What they take here, without ranges and accuracies; None: nothing was measured.
        memory_mb: Of this process, with cache, weights and one step, MB; None: the shapes are not known.
        probe_steps: Steps of a probe as ``planner=loss`` runs it, or the configured planner.
        probe_seconds: What these take; None: nothing was measured.
        probed: Whether the configured planner runs that probe.
        finishing: Steps on the whole network after it.
        solved: Whether each unit is solved in closed form first, which the seconds do not count.
    """

    steps: int
    seconds: float | None
    memory_mb: float | None
    probe_steps: int
    probe_seconds: float | None
    probed: bool
    finishing: int = 0
    solved: bool = False

    def __str__(self) -> str:
        if not self.steps:
            return "cost: no optimisation steps"
        parts = [f"about {_steps(self.steps, self.seconds)}"]
        if self.solved:
            parts.append("the closed form of each unit")
        if self.finishing:
            parts.append(f"{plural(self.finishing, 'step')} on the whole network")
        if self.memory_mb is not None:
            parts.append(f"{memory(self.memory_mb)} of memory")
        *first, last = parts
        said = f"cost: {', '.join(first)} and {last}" if first else f"cost: {last}"
        probe = _steps(self.probe_steps, self.probe_seconds)
        more = f"the probe before it, {probe}" if self.probed else f"a probe (planner=loss) would add {probe}"
        return f"{said}; {more}" if self.probe_steps else said


def _steps(count: int, seconds: float | None) -> str:
    return plural(count, "step") + ("" if seconds is None else f" ({duration(seconds)} on this machine)")


def cost_of(network: QuantizedNetwork, images: Tensor, plan: Plan, config: RunConfig) -> Cost:
    """Estimate what a run costs whose images are there.

    Args:
        network: The network on its device.
        images: The calibration images there.
        plan: The plan.
        config: The run.
    """
    per_image = seconds_per_image(nn.Sequential(*network.full), images[:SHOWN])
    facts = [unit.facts for unit in network.units]
    return estimate(facts, plan, config, images=len(images), per_image=per_image)


def cost_of_units(parts: Cut, plan: Plan, config: RunConfig, shape: tuple[int, ...] | None) -> Cost:
    """Estimate what a run costs that has no images yet.

    Args:
        parts: The traced network and its units.
        plan: The plan.
        config: The run.
        shape: Channels, height and width of an image; None: unknown, and so is the time.
    """
    asked, facts = config.data.calibration_images, [unit.facts for unit in parts.units]
    images = asked if isinstance(asked, int) else None
    per_image = None if shape is None else seconds_per_image(parts.graph, torch.rand(SHOWN, *shape))
    return estimate(facts, plan, config, images=images, per_image=per_image)


def seconds_per_image(model: nn.Module, images: Tensor) -> float:
    """Measure a forward pass in full precision.

    Args:
        model: The network.
        images: A few images on its device; the first one warms up.
    """
    with torch.inference_mode():
        model(images[:1])
        passes = [_timed(model, images)]
        while len(passes) < TRIES and sum(passes) < ENOUGH_S:
            passes.append(_timed(model, images))
        return min(passes) / len(images)


def _timed(model: nn.Module, images: Tensor) -> float:
    def wait() -> None:
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    wait()
    begin = time.perf_counter()
    model(images)
    wait()
    return time.perf_counter() - begin


def estimate(
    units: Sequence[UnitFacts], plan: Plan, config: RunConfig, *, images: int | None, per_image: float | None
) -> Cost:
    """Estimate what a run costs.

    Args:
        units: Facts of the units in order.
        plan: The plan.
        config: Method, planner, steps and batch size.
        images: Calibration images; None: not counted yet, so nothing is said of memory.
        per_image: Seconds of a forward pass per image, see `seconds_per_image`; None: unknown.
    """
    settings = Settings.of(config, merges=bool(plan.merged))
    depthwise = any(layer.kind == "depthwise" for unit in units for layer in unit.layers)
    learn = optimises(config.method)
    passes = settings.passes(depthwise=depthwise) if learn else ()
    groups = ranges_of(plan)
    if settings.judged:  # each unit of a merge comes first, alone
        groups += [range(i, i + 1) for group in groups if len(group) > 1 for i in group]
    alone = [range(i, i + 1) for i in range(len(units))]
    work = [step_cost(unit) for unit in units]
    known = per_image is not None and all(unit.activations for unit in units)
    batch = min(config.trainer.batch_size, images or config.trainer.batch_size)

    def count(members: Sequence[range], own: RunConfig) -> tuple[int, float | None]:
        total, seconds = 0, 0.0
        for task in passes:
            for group in members:
                steps = group_steps(len(group), own.trainer, task.steps)
                steps += settling_steps(len(group), own.trainer, task)
                steps += _corrections(task, own, images or batch)
                total += steps
                share = sum(work[i] for i in group) / max(sum(work), 1)
                seconds += steps * (STEP_S * len(group) + FORWARD * share * batch * (per_image or 0))
        return total, seconds if known else None

    steps, seconds = count(groups, config)
    probed = learn and needs_probe(config.granularity, config.planner)
    probe_steps, probe_seconds = 0, None
    own = steps_of(config)
    if own and (probed or config.granularity.name == "mixed"):
        probe = replace(config, trainer=replace(config.trainer, steps=own))
        probe_steps, probe_seconds = count(alone, probe)
        if needs_trials(config.granularity, config.planner):
            probe_steps *= TRIALS
            probe_seconds = probe_seconds and probe_seconds * TRIALS
    return Cost(
        steps=steps,
        seconds=seconds,
        memory_mb=_memory_mb(units, groups, batch, images) if learn and images else None,
        probe_steps=probe_steps,
        probe_seconds=probe_seconds,
        probed=probed,
        solved=any(task.solve is not None for task in passes),
        finishing=config.finish.steps if learn and config.finish.name != "none" else 0,
    )


def _corrections(task: Pass, config: RunConfig, images: int) -> int:
    if task.correction is None:
        return 0
    return max(1, round(task.correction.steps * config.trainer.steps)) * -(-images // BATCH)


def _memory_mb(units: Sequence[UnitFacts], groups: Sequence[range], batch: int, images: int) -> float | None:
    """Memory of weights (twice, with Adam's two moments for those that are learned), cache and a step."""
    if not all(unit.activations for unit in units):
        return None
    weights = sum(layer.weights for unit in units for layer in unit.layers)
    step = max(sum(units[i].activations for i in group) for group in groups)
    largest = max(unit.activations / (1 + 2 * len(unit.layers)) for unit in units)
    return memory_in_use()[0] + 4 * (4 * weights + KEPT * batch * step + STREAMS * images * largest) / MB
