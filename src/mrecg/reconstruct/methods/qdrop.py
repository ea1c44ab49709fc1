"""QDrop: one pass in which the quantization of activations is dropped element by element.

Source: Wei et al., QDrop: Randomly Dropping Quantization, arXiv 2203.05740.
"""

from mrecg.config.methods import QDrop
from mrecg.reconstruct.methods.base import LearnRounding, LearnScales, Pass


def passes(config: QDrop, *, regulariser: float) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    return (
        Pass(
            name="joint",
            keep=config.keep_probability,
            rounding=LearnRounding.of(config, regulariser),
            scales=LearnScales(lr=config.lr_scale, cosine=True),
        ),
    )
