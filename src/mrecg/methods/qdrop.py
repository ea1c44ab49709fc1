"""QDrop: one pass in which the quantization of activations is dropped element by element.

Source: Wei et al., QDrop: Randomly Dropping Quantization, arXiv 2203.05740.
"""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, LearnedActivations
from mrecg.methods.passes import Family, LearnRounding, LearnScales, Pass
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QDrop(LearnedActivations):
    """BRECQ in one pass, with the quantization of activations dropped element by element at random."""

    name: str = "qdrop"
    keep_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The probability that an element is quantized, in the input and in every activation quantizer. It is
    rounded to a multiple of 1/256."""


@register(QDrop)
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
