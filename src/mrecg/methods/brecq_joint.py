"""BRECQ in one pass, as QDrop, MQBench and MRECG compare with it: rounding and activation steps together.

Source: Wei et al., QDrop, arXiv 2203.05740 (its baseline), after Li et al., BRECQ, arXiv 2102.05426.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, LearnedActivations
from mrecg.methods.passes import Family, LearnRounding, LearnScales, Pass
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BrecqJoint(LearnedActivations):
    """What later papers call BRECQ: rounding and activation steps in one pass, activations quantized."""

    name: Literal["brecq_joint"] = "brecq_joint"


@register(BrecqJoint)
def passes(config: BrecqJoint, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    return (Pass(name="joint", rounding=rounding, scales=LearnScales.of(config), loss=config.loss),)
