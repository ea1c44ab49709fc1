"""The original BRECQ: the rounding of the whole network with FP activations, then the activation steps.

Source: Li et al., BRECQ, arXiv 2102.05426, and its published code.
"""

from mrecg.config.methods import Brecq
from mrecg.reconstruct.methods.base import LearnRounding, LearnScales, Pass


def passes(config: Brecq, *, regulariser: float) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    return (
        Pass(name="rounding", activations="off", rounding=LearnRounding.of(config, regulariser)),
        Pass(name="scales", steps=config.scale_steps, scales=LearnScales(lr=config.lr_scale, cosine=True)),
    )
