"""The schema of the re-basis of activations."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.config.inputs import PositiveInt
from mrecg.methods.hyperparameters import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RebasisConfig:
    """Re-basis: activations get a basis that is better to quantize, which the layers around them undo."""

    name: Literal["none", "shift", "full"] = "none"
    """none; shift: a number per channel is subtracted at linear bottlenecks; full: all of what follows."""
    shift: bool | None = None
    """Whether each channel's mean is taken out of values that no activation function and only sums and 1x1
    (or unpadded) convolutions read; null: in shift and full."""
    rotate: bool | None = None
    """Whether such values of a residual chain are multiplied by one random orthogonal matrix, where that
    lowers the error behind their quantizers on held-out calibration images; null: in full."""
    depthwise_scales: bool | None = None
    """Whether the channels that a depthwise convolution reads are scaled so that one step fits each of them;
    null: in full."""
    images: PositiveInt = 256
    """Calibration images that it is computed from, at most."""
    tries: Annotated[int, Field(ge=1, le=64)] = 4
    """Random matrices that are tried for each chain."""

    def parts(self) -> tuple[bool, bool, bool]:
        """Tell what is done: shift, rotate, depthwise scales."""
        full = self.name == "full"
        usual = (self.name == "shift" or full, full, full)
        given = (self.shift, self.rotate, self.depthwise_scales)
        if self.name == "none":
            return False, False, False
        shift, rotate, scales = (u if g is None else g for u, g in zip(usual, given, strict=True))
        return shift, rotate, scales
