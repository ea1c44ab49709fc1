"""BRECQ in one pass, as QDrop, MQBench and MRECG compare with it: rounding and activation steps together.

Source: Wei et al., QDrop, arXiv 2203.05740 (its baseline), after Li et al., BRECQ, arXiv 2102.05426.
"""

from mrecg.config.methods import BrecqJoint
from mrecg.reconstruct.methods.base import LearnRounding, LearnScales, Pass


def passes(config: BrecqJoint, *, regulariser: float) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, regulariser)
    return (Pass(name="joint", rounding=rounding, scales=LearnScales(lr=config.lr_scale, cosine=True)),)
