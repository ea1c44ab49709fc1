"""The content of summary.json, on which other programs rely, and the clock behind its times."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mrecg.config.finishing import FinishConfig
from mrecg.config.merging import PlannerConfig
from mrecg.config.rebasis import RebasisConfig
from mrecg.config.schema import BitsConfig, CalibrationConfig, RunConfig
from mrecg.config.validate import plain
from mrecg.data.images import Images
from mrecg.data.preprocessing import Preprocessing
from mrecg.models.weights_record import Weights
from mrecg.pipeline.accuracy import Accuracy
from mrecg.pipeline.bit_budget import average_bits
from mrecg.pipeline.evaluation import Measurement
from mrecg.pipeline.finishing import finish_record
from mrecg.pipeline.new_images import NewImages
from mrecg.planner.oscillation import oscillation
from mrecg.planner.schedule import Plan
from mrecg.quant.clipping import weight_ranges
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.quant.size import quantized_bytes
from mrecg.reconstruct.events import GroupResult
from mrecg.reconstruct.finishing import Finishing
from mrecg.reconstruct.job import Reconstruction
from mrecg.runs import summary_parts
from mrecg.runs.layout import COMPLETED
from mrecg.runs.summary import RunSummary
from mrecg.runs.summary_parts import Bits, GroupSummary, Oscillation, UnitResult
from mrecg.system import memory
from mrecg.system.checked_read import SCHEMA


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a ``with`` block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin


_STAGES = ("plan", "calibrate", "reconstruct", "finish", "evaluate")
_SAID_ELSEWHERE = {
    "bits": {"weight", "activation", "boundary", "stem_output"},
    "method": {"name"},
    "planner": {"name", "merge_count", "schedule"},
    "calibration": set[str](),
}


def options_of(config: RunConfig) -> dict[str, Any]:
    """List what decides a run's numbers, is not the default, and has no key of its own in summary.json.

    Returns:
        Values by dotted key, for example ``method.loss``.
    """
    values = plain(config)
    usual = {
        "bits": plain(BitsConfig()),
        "method": plain(type(config.method)()),
        "planner": plain(PlannerConfig(name=config.planner.name)),
        "calibration": plain(CalibrationConfig()),
    }
    if config.granularity.name != "mixed":
        del usual["planner"]
    found = {
        f"{group}.{key}": values[group][key]
        for group, defaults in usual.items()
        for key, default in defaults.items()
        if key not in _SAID_ELSEWHERE[group] and values[group][key] != default
    }
    if "planner" in usual and config.planner.merge_count == "auto":
        found["planner.merge_count"] = "auto"
    if config.trainer.lr_factor != 1:
        found["trainer.lr_factor"] = config.trainer.lr_factor
    if config.cache.dtype == "bfloat16":
        found["cache.dtype"] = config.cache.dtype
    stages: tuple[FinishConfig | RebasisConfig, ...] = (config.rebasis, config.finish)
    for group, stage in zip(("rebasis", "finish"), stages, strict=True):
        if stage.name != "none":
            own, defaults = values[group], plain(type(stage)()) | {"name": stage.name}
            found[group] = stage.name
            found |= {f"{group}.{key}": value for key, value in own.items() if value != defaults[key]}
    return found


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a network was quantized on.

    Attributes:
        images: What it was tuned and measured on.
        weights: Where the model's weights come from; None: given in Python.
        preprocessing: How the images were prepared; None: given in Python.
        notes: What a reader should know about the graph and the labels.
        asked: The configuration before widths were chosen under a budget; None: as it is.
    """

    images: Images
    weights: Weights | None = None
    preprocessing: Preprocessing | None = None
    notes: Sequence[str] = ()
    asked: RunConfig | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured beside the units.

    Attributes:
        full: What was measured of the full-precision network.
        quantized: Likewise of the quantized one.
        seconds: Of each stage.
        reused: Seconds of each stage that other runs had spent on what this one took from them.
        device: Where the run took place.
        finishing: How the network was finished; None: it was not.
        rebasis: What was re-based; None: nothing was to be.
        block: Errors of the block-wise run of the same settings; None: none is known.
        new_images: What was measured on evaluation images; None without.
    """

    full: Measurement
    quantized: Measurement
    seconds: Mapping[str, float]
    reused: Mapping[str, float]
    device: torch.device
    finishing: Finishing | None = None
    rebasis: Mapping[str, Any] | None = None
    block: Sequence[float] | None = None
    new_images: NewImages | None = None


def summarise(
    network: QuantizedNetwork,
    config: RunConfig,
    *,
    plan: Plan,
    outcome: Reconstruction,
    inputs: Inputs,
    measured: Measured,
) -> RunSummary:
    """Make the content of summary.json; other programs rely on its keys.

    Args:
        network: The finished network.
        outcome: Unit errors and curves.
        inputs: What the network was quantized on.
        measured: Accuracies and costs.
    """
    images, weights, preprocessing = inputs.images, inputs.weights, inputs.preprocessing
    errors, losses = [unit.error for unit in outcome.units], [unit.loss for unit in outcome.units]
    draws = {part: drawn.brief() if drawn else None for part, drawn in images.draws.items()}
    found = RunSummary(
        schema_version=SCHEMA,
        run_name=config.name,
        model=config.model.name,
        data=images.name,
        bits=Bits(weight=config.bits.weight, activation=config.bits.activation),
        boundary_bits=config.bits.boundary,
        stem_output=config.bits.stem_output,
        method=config.method.name,
        options=options_of(inputs.asked or config),
        granularity=config.granularity.name,
        planner=plan.planner,
        merge_count=plan.merge_count,
        merged_pairs=len(plan.merges),
        groups=plan.groups,
        seed=config.seed,
        precision=config.precision,
        steps=config.trainer.steps,
        steps_per=config.trainer.steps_per,
        optimisation_steps=sum(group.steps for group in outcome.groups),
        batch_size=config.trainer.batch_size,
        calibration_images=len(images.calibration),
        calibration=draws["calibration"],
        weights=weights.facts() if weights else {"origin": "python"},
        preprocessing=asdict(preprocessing) if preprocessing else None,
        device=str(measured.device),
        devices=config.trainer.devices,
        fp=_accuracy(measured.full.accuracy),
        quantized=_accuracy(measured.quantized.accuracy),
        to_fp=_to_full_precision(measured.full.accuracy, measured.quantized.accuracy),
        evaluation_images=len(images),
        evaluation=draws["evaluation"],
        oscillation=Oscillation(
            error_index=oscillation(errors),
            error_peak=max(errors),
            loss_index=oscillation(losses),
            loss_peak=max(losses),
        ),
        units=tuple(
            UnitResult(name=unit.name, group=unit.group, error=unit.error, loss=unit.loss)
            for unit in outcome.units
        ),
        weight_ranges=weight_ranges(network),
        group_results=tuple(map(_group, outcome.groups)),
        timing_s={key: round(measured.seconds[key], 3) for key in _STAGES if key in measured.seconds},
        reused_s={key: round(value, 3) for key, value in measured.reused.items()},
        peak_memory_mb=memory.peak_memory_mb(measured.device),
        size_bytes=quantized_bytes(network),
        unquantized=tuple(asdict(part) for part in network.unquantized),
        cache=asdict(outcome.cache),
        notes=tuple(inputs.notes),
        status=COMPLETED,
    )
    # Without keys of what was not done, as before there was such a thing.
    extra: dict[str, Any] = {}
    if measured.full.metrics is not None:
        extra["metrics"] = {
            "fp": _finite(measured.full.metrics),
            "quantized": _finite(measured.quantized.metrics or {}),
        }
    if (average := average_bits(network, inputs.asked or config, config)) is not None:
        extra["average_bits"] = round(average, 4)
    if plan.layer_bits:
        extra["layer_bits"] = {name: asdict(bits) for name, bits in plan.layer_bits.items()}
    if measured.block is not None:
        extra["block_errors"] = tuple(measured.block)
    if measured.new_images is not None and measured.new_images.errors:
        extra["evaluation_errors"] = measured.new_images.errors
        extra["activation_ranges"] = measured.new_images.ranges
    if measured.quantized.output_error is not None:
        extra["output_error"] = dict(measured.quantized.output_error)
    if measured.rebasis is not None:
        extra["rebasis"] = dict(measured.rebasis)
    if measured.finishing is not None:
        extra["finish"] = finish_record(measured.finishing)
    if plan.verdicts:
        extra["verdicts"] = tuple(asdict(verdict) for verdict in plan.verdicts)
    return found.model_copy(update=extra) if extra else found


def _finite(found: Mapping[str, float]) -> dict[str, float | None]:
    """A metric that the quantized network has no finite value of is null."""
    return {key: value if math.isfinite(value) else None for key, value in found.items()}


def _accuracy(found: Accuracy | None) -> summary_parts.Accuracy | None:
    return summary_parts.Accuracy(top1=found.top1, top5=found.top5) if found else None


def _to_full_precision(full: Accuracy | None, low: Accuracy | None) -> summary_parts.ToFullPrecision | None:
    if full is None or low is None:
        return None
    alike = (full.decisions == low.decisions).float().mean()
    return summary_parts.ToFullPrecision(kl=low.kl, agreement=float(alike))


def _group(group: GroupResult) -> GroupSummary:
    """How a group went in a pass; what was not optimised has neither losses nor a floor."""
    losses = [point.reconstruction for point in group.curve]
    return GroupSummary(
        name=group.name,
        task=group.task,
        steps=group.steps,
        floor=group.floor,
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        seconds=round(group.seconds, 3),
        reused=group.reused,
        retries=group.retries,
    )
