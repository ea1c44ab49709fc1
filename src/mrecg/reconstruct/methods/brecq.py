"""The original BRECQ: the rounding of the whole network with FP activations, then the activation steps.

Source: Li et al., BRECQ, arXiv 2102.05426, and its published code.
"""

from mrecg.config.methods import Brecq
from mrecg.reconstruct.methods.base import Family, LearnRounding, LearnScales, Pass


def passes(config: Brecq, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    scales = LearnScales.of(config)
    return (
        Pass(name="rounding", activations="off", rounding=rounding, loss=config.loss),
        Pass(name="scales", steps=config.scale_steps, scales=scales, loss=config.loss),
    )
