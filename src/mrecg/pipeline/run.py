"""The stages of a run: model and images → units → ranges → plan → reconstruction → accuracy → folder.

Between reconstruction and accuracy the whole network may be finished (`mrecg.pipeline.finishing`).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from mrecg.config.finishing import require_two
from mrecg.config.schema import RunConfig
from mrecg.config.validate import require_batch
from mrecg.data import images as data
from mrecg.data.images import Images
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError, DataError
from mrecg.models.build import Built, build
from mrecg.pipeline import probe_run
from mrecg.pipeline.bit_budget import with_widths
from mrecg.pipeline.cost import Cost, cost_of, cost_of_units
from mrecg.pipeline.evaluation import Evaluations, decisions
from mrecg.pipeline.finishing import FinishingStage
from mrecg.pipeline.new_images import NewImages
from mrecg.pipeline.outputs import gives_scores, label_notes, refuse_without_scores
from mrecg.pipeline.planning import (
    calibrate,
    check_fit,
    cut,
    make_schedule,
    measured,
    moment_notes,
    plan_units,
    units_of,
)
from mrecg.pipeline.rebasis import rebased
from mrecg.pipeline.result import Result, write_decisions, write_json, write_weights
from mrecg.pipeline.resume import begin, finish
from mrecg.pipeline.reuse import Reuse
from mrecg.pipeline.summary import Clock, Inputs, Measured, summarise
from mrecg.planner.schedule import Plan
from mrecg.quant.bit_widths import policy
from mrecg.reconstruct import computing
from mrecg.reconstruct.activation_cache import check as check_cache
from mrecg.reconstruct.events import Broadcast, Listener
from mrecg.reconstruct.helpers import Team
from mrecg.reconstruct.settings import Settings
from mrecg.runs.layout import ENVIRONMENT, IMAGES, SUMMARY, WEIGHTS_ORIGIN
from mrecg.system import machine, memory
from mrecg.system.content_store import ContentStore
from mrecg.track.kept_only import KeptOnly
from mrecg.track.terminal import Display, Quiet
from mrecg.track.trackers import Trackers, tracked

ONE_IMAGE = (
    "planner.held_out: of one calibration image none can be held out, so merges are judged on the image that "
    "they learn from; give more images, or set planner.accept=all"
)


def run(
    config: RunConfig,
    folder: Path,
    *,
    display: Display | None = None,
    light: bool = False,
    others: Sequence[Listener] = (),
) -> Result:
    """Quantize the configured model and leave a complete run folder.

    An interrupted run is resumed; its outcome has the same bits.

    Args:
        folder: The run folder; new, or that of the same run before.
        display: Shows progress.
        light: Whether report.html is a small page without interaction, as for the many jobs of a sweep.
        others: Listeners of the caller.

    Returns:
        The result; everything in it is in the folder, too.

    Raises:
        MrecgError: Whatever a user can cause and mend.
    """
    own = begin(config, folder)
    device = computing.device_of(config)
    write_json(folder / ENVIRONMENT, machine.describe(device, config.trainer.devices))
    built = build(config.model, seed=config.seed)
    write_json(folder / WEIGHTS_ORIGIN, built.weights.as_dict())
    if display is not None and (note := built.weights.note()):
        display.note(note)
    images = read(config, built.preprocessing, display=display)
    with tracked(config, folder, others) as trackers:
        result = quantize(
            built.model, images, config, display=display, trackers=trackers, built=built, own=own
        )
        leave(result, folder, trackers)
    finish(folder, light=light)
    return result


def leave(result: Result, folder: Path, trackers: Trackers) -> None:
    """Write what a run has come to; its summary last, which says that the folder is complete."""
    write_json(folder / IMAGES, result.images)
    write_decisions(folder, result.decisions)
    write_weights(folder, result)
    write_json(folder / SUMMARY, result.summary)
    trackers.summary = result.summary


def read(config: RunConfig, preprocessing: Preprocessing, *, display: Display | None = None) -> Images:
    """Read the configured images.

    Args:
        preprocessing: What the model wants its images to be.
        display: Shows progress.

    Returns:
        The images.
    """
    stage = partial((display or Quiet()).stage, "images")
    images = data.load(config.data, preprocessing=preprocessing, stage=stage)
    require_batch(config, len(images.calibration))  # known only now for data.calibration_images=all
    return images


def quantize(
    model: nn.Module,
    images: Images,
    config: RunConfig,
    *,
    display: Display | None = None,
    trackers: Trackers | None = None,
    built: Built | None = None,
    own: ContentStore | None = None,
) -> Result:
    """Quantize a model.

    Args:
        model: The full-precision network; it is not changed.
        images: Calibration and evaluation images.
        config: The configuration; its model and data groups are not looked at any more.
        display: Shows progress.
        trackers: Gets plan, curves and unit errors during the run.
        built: Where the model and its images' preprocessing come from; None: they were given in Python.
        own: Keeps what is finished, and may have some of it from before; None: nothing is kept.

    Raises:
        MrecgError: Whatever a user can cause and mend.
    """
    require_two(config.finish, len(images.calibration))
    display, trackers = display or Quiet(), trackers or Trackers()
    device = computing.device_of(config)
    check_cache(config.cache, device)
    memory.reset_peak_memory(device)
    clock = Clock()
    with clock("plan"):
        network = cut(model, config, tuple(images.calibration.shape[1:])).to(device)
        calibration = images.calibration.to(device, memory_format=torch.channels_last)
        returned, last = check_fit(network, calibration)
        refuse_without_scores(config, returned, last)
        network, rebasis, changed = rebased(network, calibration, config, display=display)
        for note in network.notes:
            display.note(f"graph: {note}")
        notes = (
            *label_notes(images, returned),
            *moment_notes(network, config),
        )
        for note in notes:
            display.note(note)
    # First, because it proves labels, preprocessing and weights before anything is spent on the rest.
    evaluations = Evaluations(
        images,
        scores=gives_scores(returned),
        lost=own is None,
        device=device,
        clock=clock,
        display=display,
    )
    full = evaluations.full(network)
    asked, build_again = config, partial(cut, model, input_shape=tuple(images.calibration.shape[1:]))
    with clock("plan"):
        network, config = with_widths(
            network, calibration, config, partial(build_again, rebasis=rebasis), display=display
        )
        again = partial(build_again, config=config, rebasis=rebasis)
        sharing = Reuse(config, network, calibration, own=own, say=display.note)
    with Team(again, trainer=config.trainer, device=device, precision=config.precision) as team:
        with clock("calibrate"), display.stage("calibrate", len(network.units)) as advance:
            calibrate(network, calibration, config, sharing, progress=advance)
        with clock("plan"):
            plan = make_schedule(network, calibration, config, sharing, team, display=display)
            trackers.plan(plan)
            block = probe_run.block_wise(network, config, sharing, plan)
            if block is not None:
                trackers.block_wise(block)
        display.note(str(cost_of(network, calibration, plan, config)))
        settings = Settings.of(config, merges=bool(plan.merged))
        if settings.judged and len(calibration) == 1:
            display.note(ONE_IMAGE)
        records = sharing.groups(held_out=settings.held_out)
        known = None if block is None else dict(zip(plan.units, block, strict=True))
        with clock("reconstruct"), display.reconstruction("reconstruct", block_wise=known) as progress:
            outcome = team.reconstruct(
                network,
                calibration,
                plan,
                settings,
                listener=Broadcast(progress, KeptOnly(*trackers.listeners)),
                finished=records,
            )
            sharing.saved["reconstruct"] = outcome.reused_seconds
            if outcome.verdicts:
                plan = plan.after(outcome.verdicts)
                trackers.plan(plan)
            probe_run.keep(network, config, sharing, plan, outcome)
        finishing_stage = FinishingStage(
            team=team, records=records, sharing=sharing, clock=clock, display=display, trackers=trackers
        )
        outcome, finishing = finishing_stage.run(network, calibration, config, outcome)
    new = NewImages(network, len(images), device)
    low = evaluations.quantized(network, full, watch=new.watch)
    return Result(
        model=network.model,
        plan=plan,
        units=outcome.units,
        groups=outcome.groups,
        summary=summarise(
            network,
            config,
            plan=plan,
            outcome=outcome,
            inputs=Inputs(
                images=images,
                weights=built.weights if built else None,
                preprocessing=built.preprocessing if built else None,
                notes=(*network.notes, *notes),
                asked=asked,
            ),
            measured=Measured(
                full=full,
                quantized=low,
                seconds=clock.seconds,
                reused=sharing.saved,
                device=device,
                finishing=finishing,
                rebasis=changed,
                block=block,
                new_images=new,
            ),
        ).as_dict(),
        config=asked,
        environment=machine.describe(device, config.trainer.devices),
        network=network,
        preprocessing=built.preprocessing if built else None,
        images=images.as_dict(),
        weights=built.weights.as_dict() if built else {"origin": "python"},
        finishing=finishing.points if finishing else (),
        decisions=decisions(full, low),
    )


def plan_only(config: RunConfig, *, display: Display | None = None) -> tuple[Plan, Cost]:
    """Plan without quantizing; images are read only where the planner needs a probe run.

    Args:
        display: Shows the probe's progress.

    Returns:
        The plan, and what a run with it would cost.
    """
    built = build(config.model, seed=config.seed)
    shape = built.preprocessing.input_shape
    if not measured(config) and config.bits.budget is None:
        parts = units_of(built.model, config, shape)
        bits = policy(parts.graph.graph, config.bits)
        plan = plan_units(parts.units, bits, config, None, parts.notes)
        return plan, cost_of_units(parts, plan, config, shape)
    device = computing.device_of(config)
    network = cut(built.model, config, shape).to(device)
    try:
        images = read(config, built.preprocessing, display=display)
        calibration = images.calibration.to(device, memory_format=torch.channels_last)
        check_fit(network, calibration)
    except (ConfigError, DataError) as error:
        instead = "planner=modcap" if config.bits.budget is None else "without bits.budget, planner=modcap"
        raise type(error)(f"{error}; {instead} plans without images") from error
    network, rebasis, _ = rebased(network, calibration, config, display=display)
    build_again = partial(cut, built.model, input_shape=shape, rebasis=rebasis)
    network, config = with_widths(network, calibration, config, build_again, display=display)
    sharing = Reuse(config, network, calibration, say=display.note if display else None)
    with Team(
        partial(build_again, config=config), trainer=config.trainer, device=device, precision=config.precision
    ) as team:
        calibrate(network, calibration, config, sharing)
        plan = make_schedule(network, calibration, config, sharing, team, display=display)
    return plan, cost_of(network, calibration, plan, config)
