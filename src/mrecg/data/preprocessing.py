"""What a model wants its images to be."""

from dataclasses import dataclass
from math import isfinite, prod
from typing import Literal

Interpolation = Literal["nearest", "bilinear", "bicubic"]
_LARGEST = 1 << 26
"""Values of an image, at most, that a file may ask for."""
_LONGEST = 1 << 14
"""Shorter side of a resized image, at most, that a file may ask for."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, centre crop, normalisation; complete, with nothing left to guess.

    Attributes:
        input_shape: Channels, height and width that the model takes, in pixels, after the centre crop.
        mean: The mean of each channel, for pixels in [0, 1].
        std: The standard deviation of each channel, for pixels in [0, 1].
        resize: The shorter side before the crop, in pixels; None if images stay as they are stored.
        interpolation: How images are resized.
        origin: Where this comes from, for example ``MobileNet_V2_Weights.IMAGENET1K_V2`` or ``configured``.
    """

    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    origin: str = "configured"

    def refuse_impossible(self) -> None:
        """See whether images can be made into this; for what was read from a file.

        Raises:
            ValueError: They cannot, or would take all memory.
        """
        shape, channels = self.input_shape, self.input_shape[0]
        if min(shape) < 1 or prod(shape) > _LARGEST:
            raise ValueError(f"images of shape {shape}")
        if self.resize is not None and not 1 <= self.resize <= _LONGEST:
            raise ValueError(f"images resized to {self.resize} pixels")
        if len(self.mean) != channels or not all(isfinite(value) for value in self.mean):
            raise ValueError(f"mean {list(self.mean)} for {channels} channels")
        if len(self.std) != channels or not all(isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std {list(self.std)} for {channels} channels; each has to be above 0")
