"""AdaRound: learned rounding with fixed activation steps.

Source: Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv 2004.10568.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, LearnedRounding
from mrecg.methods.passes import Family, LearnRounding, Pass
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaRound(LearnedRounding):
    """Learned rounding, fixed activation steps; meant for granularity=layer."""

    name: Literal["adaround"] = "adaround"


@register(AdaRound)
def passes(config: AdaRound, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    return (Pass(name="rounding", rounding=rounding, loss=config.loss),)
