"""QDrop: one pass in which the quantization of activations is dropped element by element.

Source: Wei et al., QDrop: Randomly Dropping Quantization, arXiv 2203.05740.
"""

from mrecg.config.methods import QDrop
from mrecg.reconstruct.methods.base import Family, LearnRounding, LearnScales, Pass


def passes(config: QDrop, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    return (
        Pass(
            name="joint",
            keep=config.keep_probability,
            rounding=LearnRounding.of(config, family),
            scales=LearnScales.of(config),
            loss=config.loss,
        ),
    )
