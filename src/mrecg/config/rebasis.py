"""The schema of the re-basis of activations."""

from typing import Literal

from pydantic.dataclasses import dataclass

from mrecg.config.inputs import PositiveInt
from mrecg.methods.hyperparameters import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RebasisConfig:
    """Re-basis: activations get a basis that is better to quantize, which the layers around them undo."""

    name: Literal["none", "shift", "full"] = "none"
    """none; shift: linear bottlenecks are shifted by channel; full: depthwise inputs are scaled, too."""
    shift: bool | None = None
    """Whether the mean of each channel is taken out of what no activation function and only sums and 1x1 (or
    unpadded) convolutions read; null: in shift and full."""
    depthwise_scales: bool | None = None
    """Whether the channels that a depthwise convolution reads are scaled so that one step fits each of them;
    null: in full."""
    images: PositiveInt = 256
    """Calibration images that it is computed from, at most."""

    def parts(self) -> tuple[bool, bool]:
        """Tell what is done: shifts, and scales of depthwise inputs."""
        if self.name == "none":
            return False, False
        full = self.name == "full"
        return (
            True if self.shift is None else self.shift,
            full if self.depthwise_scales is None else self.depthwise_scales,
        )
