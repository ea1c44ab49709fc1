"""Base classes of methods' hyper-parameters.

Sources: AdaRound arXiv 2004.10568, BRECQ 2102.05426, QDrop 2203.05740, PD-Quant 2212.07048, Genie 2212.04780;
zero points: LSQ+ 2004.09576.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MethodSettings:
    """Hyper-parameters of any method; a method's own class gives ``name`` its default."""

    name: str = ""
    """The name of the method."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnedRounding(MethodSettings):
    """Keys of every method that learns the rounding of the weights."""

    lr_rounding: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for the rounding variables."""
    lr_decay: Literal["constant", "cosine"] = "constant"
    """Whether that learning rate stays constant, as published, or falls to 0 by a cosine."""
    regulariser: Annotated[float, Field(ge=0)] | None = None
    """The factor lambda of the rounding regulariser. With null: 0.01, for networks with depthwise
    convolutions 0.1, for MNasNet 0.2."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The fraction of the steps without the regulariser."""
    beta_start: Annotated[float, Field(ge=1, le=100)] = 20.0
    """The exponent of the regulariser after the warm-up."""
    beta_end: Annotated[float, Field(ge=1, le=100)] = 2.0
    """The exponent of the regulariser at the last step."""
    beta_decay: Literal["linear", "cosine"] = "linear"
    """How the exponent falls."""
    learn_weight_scales: bool = False
    """Whether the scales of the weights are learned with their rounding. This costs nothing at inference."""
    lr_weight_scale: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Adam's learning rate for the weight scales, relative to each scale. It falls to 0 by a cosine."""
    learn_biases: bool = False
    """Whether the biases of layers are learned with the rounding. This costs nothing at inference. None of
    the published methods does it."""
    lr_bias: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Adam's learning rate for the biases, relative to the spread of the layer's output. It falls to 0 by a
    cosine."""
    start: Literal["nearest", "closed_form"] = "nearest"
    """Where the rounding begins: at the calibrated grid, or at what method=closed_form makes of each unit.
    What is learned from there is kept only if the prediction on held-out images gets nearer."""
    loss: Literal["mse", "fisher_diag"] = "mse"
    """The squared error, or its terms weighted by (|g| + 1)^2, where g is the gradient of the network's KL
    divergence at the unit's output, as in BRECQ's code."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnedActivations(LearnedRounding):
    """Keys of every method that also learns the steps of the activation grids."""

    lr_scale: Annotated[float, Field(gt=0, le=1)] = 4e-5
    """Adam's learning rate for the activation steps. It falls to 0 by a cosine."""
    learn_zero_points: bool = False
    """Whether the zero points of signed activations are learned with their steps (LSQ+). None of the
    published methods does it."""
    lr_zero_point: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for the zero points, in steps of the grid. It falls to 0 by a cosine."""
