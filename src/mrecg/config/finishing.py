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
    """Finishing: the whole network learns scales and biases after its reconstruction; its integers stay."""

    name: Literal["none", "network"] = "none"
    """none, or network: learns by the KL divergence to the full-precision output, or by the squared error
    where that is not of shape (images, classes). Takes the memory of a training step of all layers."""
    steps: PositiveInt = 200
    """Optimisation steps."""
    lr: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """First change of a step (then a cosine): of a scale relative to itself, of a bias relative to the spread
    of its layer's output."""
    batch_size: PositiveInt = 32
    """Images a step, at most those that are learned from."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Fraction of the calibration images that choose among what was learned; they are not learned from."""
    weight_scales: bool = True
    """Whether a factor on each scale of a weight is learned."""
    biases: bool = True
    """Whether the biases are learned."""
    activation_scales: bool = True
    """Whether the scales of activations are learned."""
    augment: Augment = "none"
    """What is done at random to each image of a step before both networks see it; each of the images that
    choose is looked at in four such ways. Flips are mirror images: of digits, for example, they are other
    classes."""
    crop: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Smallest part of an image's area that a crop keeps."""
    boundary: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of the mean relative error after each unit, added to what is learned by."""

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
