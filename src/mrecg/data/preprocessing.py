"""What a model wants its images to be."""

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, centre crop, normalisation; complete, with nothing left to guess.

    Attributes:
        input_shape: Channels, height and width that the model takes, pixels; the centre crop.
        mean: Channel means, on [0, 1].
        std: Channel standard deviations, on [0, 1].
        resize: Shorter side before the crop, pixels; None: as stored.
        interpolation: How images are resized.
        origin: Where this comes from, for example ``MobileNet_V2_Weights.IMAGENET1K_V2`` or ``configured``.
    """

    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    origin: str = "configured"
