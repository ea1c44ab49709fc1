"""The original BRECQ: the rounding of the whole network with FP activations, then the activation steps.

Source: Li et al., BRECQ, arXiv 2102.05426, and its published code.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, LearnedActivations
from mrecg.methods.passes import Family, LearnRounding, LearnScales, Pass
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Brecq(LearnedActivations):
    """The original BRECQ: first all rounding, with FP activations, then the activation steps."""

    name: Literal["brecq"] = "brecq"
    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-4
    """Adam's learning rate for the activation steps, in the second pass."""
    scale_steps: Annotated[float, Field(gt=0, le=10)] = 0.25
    """The steps of the second pass, as a fraction of the first (published: 5,000 of 20,000)."""


@register(Brecq)
def passes(config: Brecq, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    scales = LearnScales.of(config)
    return (
        Pass(name="rounding", activations="off", rounding=rounding, loss=config.loss),
        Pass(name="scales", steps=config.scale_steps, scales=scales, loss=config.loss),
    )
