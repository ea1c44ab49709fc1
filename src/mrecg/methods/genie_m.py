"""Genie-M: QDrop with the steps of the weight grids learned, over the floor that the first steps gave.

Source: Jeon et al., Genie: Show Me the Data for Quantization, arXiv 2212.04780, and its published code.
"""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods import qdrop
from mrecg.methods.hyperparameters import STRICT
from mrecg.methods.passes import Family, Pass
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenieM(QDrop):
    """QDrop, with the steps of the weight grids learned, too."""

    name: Literal["genie_m"] = "genie_m"
    regulariser: Annotated[float, Field(ge=0)] | None = 1.0
    """The factor lambda of the rounding regulariser. With null: 0.01, for networks with depthwise
    convolutions 0.1, for MNasNet 0.2."""
    learn_weight_scales: bool = True
    """Whether the scales of the weights are learned with their rounding. This makes the method."""
    lr_weight_scale: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Adam's learning rate for the weight scales, absolute as published. It falls to 0 by a cosine."""


@register(GenieM)
def passes(config: GenieM, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    (task,) = qdrop.passes(config, family)
    assert task.rounding is not None
    return (replace(task, rounding=replace(task.rounding, relative=False)),)
