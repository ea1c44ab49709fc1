"""Base classes of methods' hyper-parameters.

Sources: AdaRound arXiv 2004.10568, BRECQ 2102.05426, QDrop 2203.05740, PD-Quant 2212.07048, Genie 2212.04780;
zero points: LSQ+ 2004.09576.
"""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
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

    learn_rounding: bool = True
    """Whether the rounding is learned. With false every integer stays where the start has put it, and only
    what is free at inference is learned around it: weight scales, biases and, where the method learns them,
    activation steps. This goes with method.start=closed_form, and takes few steps."""
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
    settle_steps: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The steps that follow once the rounding of a unit is fixed, as a fraction of its steps. Only what is
    free at inference is learned in them, as with learn_rounding=false: what the rounding had to leave to
    chance when it was hardened is made up for. The loss is recorded on, and may rise where the weights
    become hard. With start=closed_form the unit stays as the closed form, the rounding or these steps have
    left it: where the prediction on held-out images is nearest."""
    learn_biases: bool = False
    """Whether the biases of layers are learned with the rounding. This costs nothing at inference. None of
    the published methods does it."""
    lr_bias: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Adam's learning rate for the biases, relative to the spread of the layer's output. It falls to 0 by a
    cosine."""
    start: Literal["nearest", "closed_form"] = "nearest"
    """Where the rounding begins: at the calibrated grid, or at what method=closed_form makes of each unit.
    What is learned from there is kept only if the prediction on held-out images gets nearer."""
    start_share: Annotated[float, Field(gt=0.5, le=1)] = 0.55
    """With start=closed_form: how near to the integer that was found the rounding of a weight begins. With
    any share above 0.5 it ends there unless something else is learned; with a larger one fewer weights
    leave it within few steps."""
    loss: Literal["mse", "fisher_diag"] = "mse"
    """The squared error, or its terms weighted by (|g| + 1)^2, where g is the gradient of the network's KL
    divergence at the unit's output, as in BRECQ's code."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> Self:
        if not (self.learn_rounding or self.learn_weight_scales or self.learn_biases):
            raise ValueError(
                "method.learn_rounding: without it the weights have nothing to learn; set "
                "method.learn_biases or method.learn_weight_scales to true, or take method=closed_form"
            )
        if self.settle_steps and not (self.learn_weight_scales or self.learn_biases):
            raise ValueError(
                "method.settle_steps: nothing is left to learn once the rounding is fixed; set "
                "method.learn_biases or method.learn_weight_scales to true, or method.settle_steps to 0"
            )
        if self.settle_steps and not self.learn_rounding:
            raise ValueError(
                "method.settle_steps: with learn_rounding=false all steps are of this kind; raise "
                "trainer.steps instead, and set method.settle_steps to 0"
            )
        return self


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
