"""The stage after the reconstruction: the whole network learns what is free."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from mrecg.config.schema import RunConfig
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.finishing import Finishing, finish, measure_units
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.track.terminal import Display
from mrecg.track.trackers import Trackers

_NAMES = {"kl": "KL divergence", "relative_error": "relative error"}


def finished(
    network: QuantizedNetwork,
    calibration: Tensor,
    config: RunConfig,
    outcome: Reconstruction,
    *,
    clock: Callable[[str], AbstractContextManager[None]],
    display: Display,
    trackers: Trackers,
) -> tuple[Reconstruction, Finishing | None]:
    """Finish a network, in place, if it is to be finished.

    Args:
        network: The reconstructed network.
        calibration: Calibration images on its device.
        outcome: Of the reconstruction.
        clock: Takes the time.
        display: Shows progress.
        trackers: Get the units' errors as they are afterwards.

    Returns:
        The outcome, with the units measured again; and how the network was finished, None where it was not.
    """
    if config.finish.name == "none":
        return outcome, None
    settings = Settings.of(config)
    with clock("finish"):
        with display.stage("finish", config.finish.steps) as advance:
            finishing = finish(network, calibration, config.finish, settings, progress=advance)
        outcome = replace(outcome, units=measure_units(network, calibration, outcome.units, settings))
    trackers.units(outcome.units)
    display.note(line(finishing))
    return outcome, finishing


def line(finishing: Finishing) -> str:
    """Say in one line what came of it."""
    begun, chosen = finishing.checks[0], finishing.chosen
    count = finishing.held_out_images
    images = "1 held-out calibration image" if count == 1 else f"{count} held-out calibration images"
    what = f"finish: {_NAMES[finishing.measure]} on {images}"
    if chosen.step == 0:
        return f"{what} did not fall below {begun.held_out:.4g}; the network stays as it was"
    return f"{what} {begun.held_out:.4g} -> {chosen.held_out:.4g}, after {chosen.step} steps"


def finish_record(finishing: Finishing) -> dict[str, Any]:
    """What summary.json says of it."""
    return {
        "measure": finishing.measure,
        "before": finishing.checks[0].held_out,
        "after": finishing.chosen.held_out,
        "chosen_step": finishing.chosen.step,
        "images": finishing.images,
        "held_out_images": finishing.held_out_images,
        "checks": [asdict(check) for check in finishing.checks],
    }
