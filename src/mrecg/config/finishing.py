"""The schema of the finishing stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mrecg.config.inputs import PositiveInt
from mrecg.errors import ConfigError
from mrecg.methods.hyperparameters import STRICT

Augment = Literal["none", "crops", "crops_and_flips"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinishConfig:
    """Finishing: the whole network learns scales and biases after the reconstruction; its integers stay."""

    name: Literal["none", "network"] = "none"
    """`network` lets the whole network learn towards the full-precision output, by the KL divergence, or by
    the squared error if it is no classifier. It takes the memory of a training step of all layers."""
    steps: PositiveInt = 200
    """The number of optimisation steps."""
    lr: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """The size of the first steps, which then falls by a cosine: relative to each scale, and for biases to
    the spread of the layer's output."""
    batch_size: PositiveInt = 32
    """The number of images in a step."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """The fraction of the calibration images that choose the state to keep. Nothing is learned from them."""
    weight_scales: bool = True
    """Whether a factor on each scale of a weight is learned."""
    biases: bool = True
    """Whether the biases are learned."""
    activation_scales: bool = True
    """Whether the scales of activations are learned."""
    augment: Augment = "none"
    """How images are changed at random before both networks see them. Flips are mirror images, which for
    digits are other classes. Each held-out image is looked at in four such ways."""
    crop: Annotated[float, Field(gt=0, le=1)] = 0.4
    """The smallest fraction of an image's area that a crop keeps."""
    boundary: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """The weight of the mean relative error after each unit, which is added to the loss."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> "FinishConfig":
        if self.name != "none" and not (self.weight_scales or self.biases or self.activation_scales):
            raise ValueError(
                f"finish: {self.name} has nothing to learn without finish.weight_scales, finish.biases and "
                "finish.activation_scales; set one of them to true, or finish=none"
            )
        return self


def require_two(finish: FinishConfig, images: int) -> None:
    """Check that there are images to learn from, and others to choose by.

    Args:
        images: How many calibration images there are.

    Raises:
        ConfigError: There are too few.
    """
    if finish.name != "none" and images < 2:
        raise ConfigError(
            f"finish: {finish.name} holds some of the calibration images out, so it needs at least 2 of "
            f"them, not {images}; give more, or set finish=none"
        )
