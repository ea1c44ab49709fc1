"""The stage behind ``mrecg sensitivity``: ranges from some calibration images, measured on the others."""

from dataclasses import replace
from typing import Any

from torch import Tensor, channels_last, nn

from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError
from mrecg.models.build import build
from mrecg.pipeline.bit_budget import held_out
from mrecg.pipeline.planning import check_fit, cut
from mrecg.pipeline.rebasis import rebased
from mrecg.pipeline.run import read
from mrecg.reconstruct import computing
from mrecg.reconstruct.calibrate import calibrate
from mrecg.reconstruct.sensitivity import measured_by, sensitivities
from mrecg.runs.sensitivity import Sensitivity
from mrecg.track.terminal import Display, Quiet

_EVALUATION = ("evaluation_path", "evaluation_dataset", "labels_path", "classes_path")
"""Keys of evaluation images, which are not even looked up."""


def run(config: RunConfig, *, display: Display | None = None) -> Sensitivity:
    """Measure the configured model on the configured calibration images; evaluation images are not opened.

    Args:
        display: Shows progress.
    """
    built = build(config.model, seed=config.seed)
    none: dict[str, Any] = dict.fromkeys(_EVALUATION)
    only = replace(config, data=replace(config.data, **none))
    images = read(only, built.preprocessing, display=display).calibration
    return measure(built.model, images, config, display=display)


def measure(
    model: nn.Module, images: Tensor, config: RunConfig, *, display: Display | None = None
) -> Sensitivity:
    """Quantize each unit and each layer alone.

    Args:
        model: The full-precision network; it is not changed.
        images: Calibration images, shape (N, C, H, W).
        config: Bits, ranges, and where to compute.
        display: Shows progress.

    Returns:
        What that does to the network's predictions on held-out images.

    Raises:
        ConfigError: Nothing is quantized.
        MrecgError: Whatever else a user can cause and mend.
    """
    if config.bits.budget is not None:
        raise ConfigError(
            "bits.budget: chooses widths by sensitivities, which need widths; leave it out here"
        )
    display = display or Quiet()
    device = computing.device_of(config)
    network = cut(model, config, tuple(images.shape[1:])).to(device)
    images = images.to(device, memory_format=channels_last)
    check_fit(network, images)
    if not network.policy.layers and not network.policy.activations:
        raise ConfigError("bits: nothing is quantized with these widths; set bits.weight or bits.activation")
    network, _, _ = rebased(network, images, config, display=display)
    learned, held = held_out(images, config.seed)
    batch = config.data.batch_size
    with display.stage("calibrate", len(network.units)) as advance:
        for _ in calibrate(network, learned, config.calibration, batch=batch, cache=config.cache):
            advance(1)
    with display.stage("sensitivity", len(network.units)) as advance:
        rows = sensitivities(network, held, batch=batch, progress=advance)
    return Sensitivity(
        model=config.model.name, images=len(held), rows=tuple(rows), measure=measured_by(network, held)
    )
