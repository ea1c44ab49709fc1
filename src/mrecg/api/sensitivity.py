"""The Python API: what quantizing each unit and layer of a model alone does."""

from typing import Any

from torch import Tensor, nn

from mrecg.api.arguments import checked_images, config_with, network_by_name, refuse_without_values
from mrecg.graph.intake import unwrap
from mrecg.pipeline.sensitivity import measure
from mrecg.reconstruct import computing
from mrecg.runs.sensitivity import Sensitivity
from mrecg.track.terminal import Screen


@network_by_name
@computing.keeping_draws()
def sensitivity(
    model: nn.Module,
    images: Tensor,
    /,
    *,
    weight_bits: int = 2,
    activation_bits: int = 4,
    seed: int = 0,
    progress: bool = True,
    **overrides: Any,
) -> Sensitivity:
    """Quantize each unit and each layer of a model alone, and see what that does to its predictions.

    Ranges come from three quarters of the images, and the rest, at most 128, is measured on.

    Args:
        model: As `quantize` takes it; it is not changed.
        images: A few hundred unlabelled images of shape (N, C, H, W), preprocessed as the model expects.
        weight_bits: 2 to 8, or 32.
        activation_bits: 2 to 8, or 32.
        seed: Of the draw of the images.
        progress: Show progress on standard error.
        **overrides: Any other group of the configuration as a dict, for example
            ``bits={"boundary": None}`` or ``calibration={"weight_range": "minmax"}``.

    Returns:
        A row for weights and activations of each unit and layer; ``worst("layer")`` sorts them.

    Raises:
        ConfigError: An argument is out of range or unknown, or nothing is quantized.
        GraphError: The model cannot be traced or cut.
        DataError: The images are not what the model takes.
    """
    name = type(unwrap(model)[0]).__name__
    refuse_without_values(model)
    images = checked_images(images)
    values: dict[str, Any] = {
        "model": {"source": "python", "name": name, "input_shape": tuple(images.shape[1:])},
        "data": {"source": "python", "name": "python", "calibration_images": len(images)},
        "bits": {"weight": weight_bits, "activation": activation_bits},
        "seed": seed,
    }
    config = config_with(values, overrides, sensitivity)
    with computing.computing_as(config):
        return measure(model, images, config, display=Screen(name) if progress else None)
