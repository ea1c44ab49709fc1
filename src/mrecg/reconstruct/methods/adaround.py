"""AdaRound: learned rounding with fixed activation steps.

Source: Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv 2004.10568.
"""

from mrecg.config.methods import AdaRound
from mrecg.reconstruct.methods.base import Family, LearnRounding, Pass


def passes(config: AdaRound, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    rounding = LearnRounding.of(config, family)
    return (Pass(name="rounding", rounding=rounding, loss=config.loss),)
