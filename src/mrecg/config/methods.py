"""Hyper-parameters of every method, one frozen dataclass each.

`reconstruct.methods` has the file of the same name.

Sources: AdaRound arXiv 2004.10568, BRECQ 2102.05426, QDrop 2203.05740, PD-Quant 2212.07048, Genie 2212.04780;
zero points: LSQ+ 2004.09576.
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
    lr_decay: Literal["constant", "cosine"] = "constant"
    """Whether that learning rate stays, as published, or falls to 0 by a cosine."""
    regulariser: Annotated[float, Field(ge=0)] | None = None
    """Lambda of the rounding regulariser; null: 0.01, with depthwise convolutions 0.1, for MNasNet 0.2."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Fraction of the steps without the regulariser."""
    beta_start: Annotated[float, Field(ge=1, le=100)] = 20.0
    """Exponent of the regulariser after the warm-up."""
    beta_end: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Exponent of the regulariser at the last step."""
    beta_decay: Literal["linear", "cosine"] = "linear"
    """How the exponent falls."""
    loss: Literal["mse", "fisher_diag"] = "mse"
    """Squared error, or each of its terms weighted by (|g| + 1)^2 with g the gradient of the network's KL
    divergence at the unit's output, as BRECQ's code has it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnedActivations(LearnedRounding):
    """What every method shares that also learns the steps of the activation grids."""

    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-5
    """Adam's learning rate for the activation steps; falls to 0 by a cosine."""
    learn_zero_points: bool = False
    """Whether the zero points of signed activations are learned with their steps (LSQ+); none of the
    published methods does."""
    lr_zero_point: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for them, in steps of the grid; falls to 0 by a cosine."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaRound(LearnedRounding):
    """Learned rounding, fixed activation steps; meant for granularity=layer."""

    name: Literal["adaround"] = "adaround"
    """Which method."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Brecq(LearnedActivations):
    """The original BRECQ: first all rounding, with FP activations, then the activation steps."""

    name: Literal["brecq"] = "brecq"
    """Which method."""
    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-4
    """Adam's learning rate for the activation steps, in the second pass."""
    scale_steps: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Steps of the second pass, as a fraction of the first (published: 5,000 of 20,000)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BrecqJoint(LearnedActivations):
    """What later papers call BRECQ: rounding and activation steps in one pass, activations quantized."""

    name: Literal["brecq_joint"] = "brecq_joint"
    """Which method."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QDrop(LearnedActivations):
    """BRECQ in one pass, with the quantization of activations dropped element by element at random."""

    name: Literal["qdrop"] = "qdrop"
    """Which method."""
    keep_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that an element is quantized, in the input and in every activation quantizer; a multiple
    of 1/256."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PdQuant(QDrop):
    """QDrop, and the network's prediction through its full-precision rest (KL divergence)."""

    name: Literal["pd_quant"] = "pd_quant"  # type: ignore[assignment]
    """Which method."""
    lr_rounding: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Adam's learning rate for the rounding variables."""
    prediction_weight: Annotated[float, Field(ge=0)] = 10.0
    """Factor on the KL divergence; 0 leaves it out, and the full-precision rest that a step runs for it."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Divides the logits; null: 4, with depthwise convolutions 1."""
    correction_steps: Annotated[float, Field(ge=0, le=1)] = 0.025
    """Steps that correct the activations of each batch of 32 images towards BatchNorm's statistics, as a
    fraction of the steps (published: 500 of 20,000); 0: none."""
    correction_lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for the corrected activations."""
    correction_strength: Annotated[float, Field(gt=0)] | None = None
    """How far they may leave what they were: their squared change counts divided by this; null: 0.02, with
    depthwise convolutions 0.005, for RegNet 0.01, for MNasNet 0.001."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenieM(QDrop):
    """QDrop, with the steps of the weight grids learned over the floor of the first ones."""

    name: Literal["genie_m"] = "genie_m"  # type: ignore[assignment]
    """Which method."""
    regulariser: Annotated[float, Field(ge=0)] | None = 1.0
    """Lambda of the rounding regulariser; null: 0.01, with depthwise convolutions 0.1, for MNasNet 0.2."""
    lr_weight_scale: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Adam's learning rate for the steps of the weight grids; falls to 0 by a cosine."""


MethodConfig = Annotated[
    Rtn | AdaRound | Brecq | BrecqJoint | QDrop | PdQuant | GenieM, Field(discriminator="name")
]

METHODS: dict[str, type[Rtn | LearnedRounding]] = {
    "rtn": Rtn,
    "adaround": AdaRound,
    "brecq": Brecq,
    "brecq_joint": BrecqJoint,
    "qdrop": QDrop,
    "pd_quant": PdQuant,
    "genie_m": GenieM,
}
"""Every method by its name in the config."""
