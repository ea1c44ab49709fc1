"""The schema of the re-basis of activations."""

from typing import Literal

from pydantic.dataclasses import dataclass

from mrecg.config.inputs import PositiveInt
from mrecg.methods.hyperparameters import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RebasisConfig:
    """Re-basis: activations are shifted and scaled to quantize better; the network stays the same."""

    name: Literal["none", "shift", "full"] = "none"
    """`shift` shifts linear bottlenecks by channel, and `full` also scales the inputs of depthwise
    convolutions."""
    shift: bool | None = None
    """Whether the mean of each channel is taken out of values that only sums and 1x1 (or unpadded)
    convolutions read. With null: in shift and full."""
    depthwise_scales: bool | None = None
    """Whether the channels that a depthwise convolution reads are scaled so that one step fits all. With
    null: in full."""
    images: PositiveInt = 256
    """The most calibration images that it is computed from."""

    def parts(self) -> tuple[bool, bool]:
        """Tell what is done: shifts, and scales of depthwise inputs."""
        if self.name == "none":
            return False, False
        full = self.name == "full"
        return (
            True if self.shift is None else self.shift,
            full if self.depthwise_scales is None else self.depthwise_scales,
        )
