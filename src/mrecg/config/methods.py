"""Hyper-parameters of every method, one frozen dataclass each.

`reconstruct.methods` has the file of the same name.

Sources: AdaRound arXiv 2004.10568, BRECQ 2102.05426,
QDrop 2203.05740.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rtn:
    """Round to nearest: nothing is learned; the floor that every table starts with."""

    name: Literal["rtn"] = "rtn"
    """Which method."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnedRounding:
    """What every method shares that learns the rounding of the weights."""

    lr_rounding: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for the rounding variables."""
    regulariser: Annotated[float, Field(ge=0)] | None = None
    """Lambda of the rounding regulariser; null: 0.1 for a network with depthwise convolutions, else 0.01."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Fraction of the steps without the regulariser."""
    beta_start: Annotated[float, Field(ge=1, le=100)] = 20.0
    """Exponent of the regulariser after the warm-up."""
    beta_end: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Exponent of the regulariser at the last step."""
    beta_decay: Literal["linear", "cosine"] = "linear"
    """How the exponent falls."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaRound(LearnedRounding):
    """Learned rounding, fixed activation steps; meant for granularity=layer."""

    name: Literal["adaround"] = "adaround"
    """Which method."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Brecq(LearnedRounding):
    """The original BRECQ: first all rounding, with FP activations, then the activation steps."""

    name: Literal["brecq"] = "brecq"
    """Which method."""
    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-4
    """Adam's learning rate for the activation steps, in the second pass."""
    scale_steps: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Steps of the second pass, as a fraction of the first (published: 5,000 of 20,000)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BrecqJoint(LearnedRounding):
    """What later papers call BRECQ: rounding and activation steps in one pass, activations quantized."""

    name: Literal["brecq_joint"] = "brecq_joint"
    """Which method."""
    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-5
    """Adam's learning rate for the activation steps; falls to 0 by a cosine."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QDrop(LearnedRounding):
    """BRECQ in one pass, with the quantization of activations dropped element by element at random."""

    name: Literal["qdrop"] = "qdrop"
    """Which method."""
    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-5
    """Adam's learning rate for the activation steps; falls to 0 by a cosine."""
    keep_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that an element is quantized, in the input and in every activation quantizer; a multiple
    of 1/256."""


MethodConfig = Annotated[Rtn | AdaRound | Brecq | BrecqJoint | QDrop, Field(discriminator="name")]

METHODS: dict[str, type[Rtn | LearnedRounding]] = {
    "rtn": Rtn,
    "adaround": AdaRound,
    "brecq": Brecq,
    "brecq_joint": BrecqJoint,
    "qdrop": QDrop,
}
"""Every method by its name in the config."""
