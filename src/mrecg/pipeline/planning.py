"""From a model to its calibrated units and their plan."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import FLOAT_BITS, RunConfig
from mrecg.errors import CheckpointError, DataError, MrecgError
from mrecg.graph.basis import Rebasis, rebase
from mrecg.graph.cut import Cut
from mrecg.graph.cut import cut as cut_graph
from mrecg.graph.partition import Unit
from mrecg.graph.unquantized import said
from mrecg.methods import optimises, passes_of
from mrecg.models.construct import refuse_not_finite, statistics_of
from mrecg.pipeline import probe_run
from mrecg.pipeline.reuse import Reuse
from mrecg.planner.plan import Alone, Probe, make_plan, needs_alone, needs_probe
from mrecg.planner.schedule import Plan
from mrecg.planner.widths import LayerBits
from mrecg.quant.bit_widths import Policy, left_out
from mrecg.quant.layer_rows import LARGEST, Arrangement
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.calibrate import calibrate as find_ranges
from mrecg.reconstruct.helpers import Team
from mrecg.reconstruct.quantized_alone import IMAGES, quantized_alone
from mrecg.track.terminal import Display, Quiet


def cut(
    model: nn.Module,
    config: RunConfig,
    input_shape: tuple[int, ...] | None,
    *,
    rebasis: Rebasis | None = None,
) -> QuantizedNetwork:
    """Trace a model, fold it, cut it into units and put the quantizers in.

    Args:
        model: The full-precision network.
        config: Granularity and bits.
        input_shape: Channels, height and width of an image; None: see `mrecg.graph.cut.cut`.
        rebasis: Bases for its activations; None: those that it has.

    Returns:
        The network, not yet calibrated.
    """
    parts = units_of(model, config, input_shape)
    if rebasis is not None:
        rebase(parts.graph, rebasis)
    return QuantizedNetwork(
        parts.graph, parts.units, config.bits, notes=parts.notes, unquantized=parts.unquantized
    )


def units_of(model: nn.Module, config: RunConfig, input_shape: tuple[int, ...] | None) -> Cut:
    """Trace a model, fold it and cut it into the units that the configured groups are made of.

    Args:
        model: The full-precision network.
        config: Granularity.
        input_shape: Channels, height and width of an image; None: see `mrecg.graph.cut.cut`.

    Returns:
        The graph and its units.

    Raises:
        CheckpointError: A weight is NaN or infinite, or a variance negative.
        ConfigError: A pattern of bits matches nothing.
    """
    refuse_not_finite({**dict(model.named_parameters()), **statistics_of(model)}, "model")
    base = "layer" if config.granularity.name == "layer" else "block"
    limit = config.granularity.max_unit_layers
    parts = cut_graph(model, base, input_shape=input_shape, max_unit_layers=limit, output=config.model.output)
    if out := left_out(parts.graph.graph, config.bits):
        parts = replace(parts, notes=(*parts.notes, *said(out)), unquantized=(*parts.unquantized, *out))
    refuse_not_finite(dict(parts.graph.named_parameters()), "model with BatchNorm folded into its layers")
    return parts


def calibrate(
    network: QuantizedNetwork,
    images: Tensor,
    config: RunConfig,
    sharing: Reuse,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Find every range, or take them from a run that has found them.

    Args:
        network: The network, changed in place.
        images: Calibration images on its device.
        config: How ranges are found.
        sharing: What runs share.
        progress: Called with the number of units that are done.
    """
    with sharing.alone("calibration"):
        if sharing.recall_calibration(network):
            done = len(network.units)
        else:
            done, begin = 0, time.perf_counter()
            for _ in find_ranges(
                network, images, config.calibration, batch=config.data.batch_size, cache=config.cache
            ):
                if progress is not None:
                    progress(1)
            sharing.keep_calibration(network, time.perf_counter() - begin)
    if progress is not None and done:
        progress(done)


@torch.no_grad()
def check_fit(network: QuantizedNetwork, images: Tensor) -> tuple[Any, Tensor]:
    """Show the model one image before the work begins.

    Args:
        images: Calibration images on its device.

    Returns:
        What the model gives for it, and what its last unit gives.

    Raises:
        DataError: It does not take them.
        CheckpointError: Its weights make NaN or infinity of it.
    """
    x = images[:1]
    try:
        for unit, part in zip(network.units, network.full, strict=True):
            x = part(x)
            if not bool(x.isfinite().all()):
                largest = max((float(p.abs().max()) for p in part.parameters() if p.numel()), default=0.0)
                raise CheckpointError(
                    f"model: {unit.name} makes NaN or infinite values of the first calibration image, "
                    f"and its largest weight is {largest:.3g}: the weights or the images are too large; "
                    "see model.checkpoint and model.preprocessing"
                )
        return (x if network.structure is None else network.reference()(images[:1])), x
    except MrecgError:
        raise
    except Exception as error:  # whatever the model's operations raise
        shape, reason = tuple(images.shape[1:]), " ".join(str(error).split())
        raise DataError(
            f"the model does not take images of shape {shape}, {images.dtype}: {reason}"
        ) from error


def make_schedule(
    network: QuantizedNetwork,
    images: Tensor,
    config: RunConfig,
    sharing: Reuse,
    team: Team,
    *,
    display: Display | None = None,
) -> Plan:
    """Plan the groups of a calibrated network, with a probe run where the planner needs one.

    Args:
        network: The calibrated network; the probe works on a copy.
        images: Calibration images on its device.
        config: Granularity and planner.
        sharing: What runs share.
        team: The devices that run the probe.
        display: Shows the probe's progress.
    """
    probe: Probe | Sequence[Alone] | None = None
    if measured(config) and not probed(config):
        with (display or Quiet()).stage("pack", min(IMAGES, len(images))) as advance:
            probe = quantized_alone(
                network, images, seed=config.seed, batch=config.data.batch_size, progress=advance
            )
    elif probed(config):
        with probe_run.alone(network, config, sharing):
            probe = probe_run.find(network, config, sharing)
            if probe is None:
                with (display or Quiet()).reconstruction("probe for the plan", lines=False) as progress:
                    probe = probe_run.run(network, images, config, sharing, team=team, listener=progress)
    return plan_units(network.units, network.policy, config, probe, network.notes)


def moment_notes(network: QuantizedNetwork, config: RunConfig) -> list[str]:
    """Say where a layer has too many inputs for all their moments to be kept together.

    Args:
        network: The network.
        config: Method and calibration; most need no moments.

    Returns:
        A line for each such layer.
    """
    solves = _solves(config)
    if not solves and config.calibration.weight_range != "output":
        return []
    notes = []
    for path in network.policy.layers:
        layer = network.model.get_submodule(path)
        at = Arrangement.of(layer) if isinstance(layer, QuantizedLayer) else None
        if at is not None and at.parts > 1:
            notes.append(
                f"{path}: a channel has {at.inputs:,} inputs, more than {LARGEST:,}: their moments are taken "
                f"in {at.parts} parts, without what inputs of different parts have in common"
                + ("; only the mean of its output is corrected" if solves else "")
            )
    return notes


def measured(config: RunConfig) -> bool:
    """Tell whether a plan takes images.

    Args:
        config: Method, granularity and planner.

    Returns:
        Whether it does; never where the method optimises nothing.
    """
    alone = optimises(config.method) and needs_alone(config.granularity, config.planner)
    return probed(config) or alone


def probed(config: RunConfig) -> bool:
    """Tell whether a plan takes a probe run.

    Args:
        config: Method, granularity and planner.

    Returns:
        Whether it does; never where the method optimises nothing, because then merges change nothing.
    """
    return optimises(config.method) and needs_probe(config.granularity, config.planner)


def plan_units(
    units: tuple[Unit, ...],
    bits: Policy,
    config: RunConfig,
    probe: Probe | Sequence[Alone] | None,
    notes: tuple[str, ...],
) -> Plan:
    """Plan from facts and what was measured.

    Args:
        units: The units in order.
        bits: The bits of everything that is quantized.
        config: Granularity, planner, and the trainer's steps and batch size.
        probe: Numbers of a plain run, or what quantizing each unit by itself does.
        notes: What is to be known about the units.
    """
    # Where nothing is optimised, nothing has to be measured to know what to merge: nothing.
    takes = needs_probe(config.granularity, config.planner) or needs_alone(config.granularity, config.planner)
    takes = takes or (config.granularity.name == "mixed" and config.planner.judged)
    idle = not optimises(config.method) and takes
    planner = PlannerConfig(name="loss", merge_count=0) if idle else config.planner
    made = make_plan(
        [unit.facts for unit in units],
        bits.layers,
        granularity=config.granularity,
        planner=planner,
        model=config.model.name,
        probe=probe,
        trainer=config.trainer,
    )
    made = replace(made, graph_notes=notes, layer_bits=layer_bits(bits, config))
    return replace(made, planner=config.planner.name, note=_idle_note(config)) if idle else made


def layer_bits(bits: Policy, config: RunConfig) -> dict[str, LayerBits]:
    """List the bits of each layer, where they do not follow from the usual keys.

    Args:
        bits: The bits of everything that is quantized.
        config: The configured widths.

    Returns:
        By layer, in the network's order; empty where no pattern is given.
    """
    if not config.bits.patterned:
        return {}
    return {
        name: LayerBits(weight=bits.layers.get(name, FLOAT_BITS), input=width)
        for name, width in bits.reads.items()
    }


def _idle_note(config: RunConfig) -> str:
    """What a plan says that merges nothing because its method optimises no group."""
    what = "solves each layer" if _solves(config) else "rounds each weight"
    return f"method={config.method.name} {what} by itself, so no units are merged and no probe was run."


def _solves(config: RunConfig) -> bool:
    return any(task.solve for task in passes_of(config.method, depthwise=False))
