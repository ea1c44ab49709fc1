"""BRECQ in one pass, as QDrop, MQBench and MRECG compare with it: rounding and activation steps together.

Source: Wei et al., QDrop, arXiv 2203.05740 (its baseline), after Li et al., BRECQ, arXiv 2102.05426.
"""

from mrecg.config.methods import BrecqJoint
from mrecg.reconstruct.methods.base import Family, LearnRounding, LearnScales, Pass


def passes(config: BrecqJoint, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    return (Pass(name="joint", rounding=rounding, scales=LearnScales.of(config), loss=config.loss),)
