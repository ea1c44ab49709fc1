"""The Python API: what quantizing each unit and layer of a model alone does."""

from typing import Any

import torch
from torch import nn

from mrecg.api.arguments import (
    config_with,
    network_by_name,
    one_calibration,
    refuse_without_values,
    with_images,
)
from mrecg.data.batches import Keys
from mrecg.data.given_labels import from_python
from mrecg.graph.intake import unwrap
from mrecg.pipeline.sensitivity import measure
from mrecg.reconstruct import computing
from mrecg.runs.sensitivity import Sensitivity
from mrecg.track.terminal import Screen


@network_by_name
@computing.keeping_draws()
def sensitivity(
    model: nn.Module,
    /,
    calibration_images: Any = None,
    *,
    calibration: Any = None,
    weight_bits: int = 2,
    activation_bits: int = 4,
    seed: int = 0,
    progress: bool = True,
    image_key: str | int | None = None,
    **overrides: Any,
) -> Sensitivity:
    """Quantize each unit and each layer of a model alone, and see what that does to its predictions.

    Ranges come from three quarters of the images. The rest, at most 128 images, is measured on.

    Args:
        model: A convolutional network with one tensor as input. It is not changed.
        calibration_images: A few hundred unlabelled images, as for `quantize`.
        calibration: Another name for ``calibration_images``, as for `quantize`.
        weight_bits: The bits of a weight: 2 to 8, or 32 for full precision.
        activation_bits: The bits of an activation: 2 to 8, or 32 for full precision.
        seed: The seed of the draw of the images.
        progress: Whether to show progress on standard error.
        image_key: Where images are in an item or batch, as for `quantize`.
        **overrides: Any other group of settings as a dict, for example ``bits={"boundary": None}`` or
            ``calibration={"weight_range": "minmax"}``.

    Returns:
        A row for the weights and the activations of each unit and layer; ``worst("layer")`` sorts them.

    Raises:
        ConfigError: An argument is out of range or unknown, or nothing is quantized.
        GraphError: The model cannot be traced or cut.
        DataError: The images are not what the model takes.
    """
    given, group = one_calibration(calibration_images, calibration)
    overrides |= group
    name = type(unwrap(model)[0]).__name__
    refuse_without_values(model)
    values: dict[str, Any] = {
        "model": {"source": "python", "name": name},
        "data": {"source": "python", "name": "python"},
        "bits": {"weight": weight_bits, "activation": activation_bits},
        "seed": seed,
    }
    config = config_with(values, overrides, sensitivity)
    drawn = "calibration_images" in (overrides.get("data") or {})
    images = from_python(config.data, given, None, keys=Keys(image_key), drawn=drawn)
    config = with_images(config, images)
    with computing.computing_as(config), torch.inference_mode(mode=False):
        return measure(model, images.calibration, config, display=Screen(name) if progress else None)
