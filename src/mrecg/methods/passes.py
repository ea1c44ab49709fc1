"""What a method is made of: passes over the network, and what each learns."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from mrecg.methods.hyperparameters import LearnedActivations, LearnedRounding


@dataclass(frozen=True, kw_only=True)
class Family:
    """What papers choose by the kind of network, where the config leaves it open.

    Attributes:
        regulariser: Lambda of the rounding regulariser.
        temperature: Of PD-Quant's predictions.
        strength: Of PD-Quant's correction.
    """

    regulariser: float
    temperature: float
    strength: float


DENSE = Family(regulariser=0.01, temperature=4.0, strength=0.02)
DEPTHWISE = Family(regulariser=0.1, temperature=1.0, strength=0.005)
FAMILIES = {
    "regnet": Family(regulariser=0.01, temperature=4.0, strength=0.01),
    "mnasnet": Family(regulariser=0.2, temperature=1.0, strength=0.001),
}
"""By the beginning of the model's name, where a paper names the family; all others by their convolutions."""


def family_of(model: str, *, depthwise: bool) -> Family:
    """Find what papers choose for a network.

    Args:
        model: Its name; empty for a module that was given in Python.
        depthwise: Whether it has depthwise convolutions: MobileNetV2's values, else those of ResNets.

    Returns:
        The values of the published commands.
    """
    named = (family for name, family in FAMILIES.items() if model.lower().startswith(name))
    return next(named, DEPTHWISE if depthwise else DENSE)


@dataclass(frozen=True, kw_only=True)
class LearnRounding:
    """Learn the rounding of the weights.

    Attributes:
        lr: Adam's learning rate; None: the integers stay, and what is below is learned around them.
        regulariser: Lambda.
        warmup: Fraction of the steps without regulariser.
        beta_start: Exponent after the warm-up.
        beta_end: Exponent at the end.
        beta_decay: ``linear`` or ``cosine``.
        cosine: Whether the learning rate falls to 0 by a cosine.
        scale_lr: Adam's learning rate for the scales of the weights at the start; falls to 0 by a cosine.
            None: they stay.
        relative: Whether that is relative to each scale; their logarithms are learned then.
        bias_lr: Adam's learning rate for the biases at the start, relative to the standard deviation of their
            layer's output; falls to 0 by a cosine. None: they stay.
        settle: Steps behind those of the pass in which the integers stay, as a fraction of these.
        share: Of integers that were found before in where their rounding begins, above 0.5 and at most 1.
    """

    lr: float | None
    regulariser: float
    warmup: float
    beta_start: float
    beta_end: float
    beta_decay: str
    cosine: bool = False
    scale_lr: float | None = None
    relative: bool = False
    bias_lr: float | None = None
    settle: float = 0.0
    share: float = LearnedRounding.start_share

    @classmethod
    def of(cls, config: LearnedRounding, family: Family) -> "LearnRounding":
        """Take the values from a method's hyper-parameters.

        Args:
            family: Of the network; decides an open lambda.

        Returns:
            The record.
        """
        regulariser = family.regulariser if config.regulariser is None else config.regulariser
        return cls(
            lr=config.lr_rounding if config.learn_rounding else None,
            regulariser=regulariser if config.learn_rounding else 0.0,
            warmup=config.warmup,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_decay=config.beta_decay,
            cosine=config.lr_decay == "cosine",
            scale_lr=config.lr_weight_scale if config.learn_weight_scales else None,
            relative=True,
            bias_lr=config.lr_bias if config.learn_biases else None,
            settle=config.settle_steps,
            share=config.start_share,
        )


@dataclass(frozen=True, kw_only=True)
class LearnScales:
    """Learn the steps of the activation grids, and perhaps their zero points.

    Both learning rates fall to 0 by a cosine.

    Attributes:
        lr: Adam's learning rate at the start.
        zero_point_lr: That of the zero points; None: they stay.
    """

    lr: float
    zero_point_lr: float | None = None

    @classmethod
    def of(cls, config: LearnedActivations) -> "LearnScales":
        """Take the values from a method's hyper-parameters.

        Returns:
            The record.
        """
        return cls(
            lr=config.lr_scale, zero_point_lr=config.lr_zero_point if config.learn_zero_points else None
        )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Also minimise the difference of the network's predictions.

    Attributes:
        weight: Factor on the KL divergence.
        temperature: Divides the logits.
    """

    weight: float
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Correct full-precision activations towards BatchNorm's statistics, before a group learns from them.

    Attributes:
        steps: Steps on each batch, as a fraction of ``trainer.steps``.
        lr: Adam's learning rate.
        strength: Divides the penalty on the change.
    """

    steps: float
    lr: float
    strength: float


@dataclass(frozen=True, kw_only=True)
class Solve:
    """Solve the units one after the other in closed form, layer by layer, from moments of quantized inputs.

    Attributes:
        images: Calibration images from which moments are taken, at most.
        held_out: Those on which the network's prediction decides what is accepted, at most.
        sweeps: How often each integer of a layer is visited.
        compensation: Share of what quantized inputs change that a layer's weights make up for.
    """

    images: int = 256
    held_out: int = 64
    sweeps: int = 4
    compensation: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One walk over all groups.

    Attributes:
        name: For curves and logs.
        steps: Optimisation steps, as a fraction of ``trainer.steps``.
        activations: Whether activations are quantized in this walk, inside the group and before it.
        keep: Probability that an element is quantized while a group is optimised, in its input and in every
            activation quantizer; 1 after the group.
        rounding: How the rounding is learned; None: it is not.
        scales: How the activation steps are learned; None: they are not.
        loss: ``mse`` or ``fisher_diag``.
        prediction: How the network's prediction counts; None: it does not.
        correction: How activations are corrected; None: they are not.
        solve: How units are solved in closed form, before anything is learned of them. None: they are not.
    """

    name: str
    steps: float = 1.0
    activations: Literal["off", "on"] = "on"
    keep: float = 1.0
    rounding: LearnRounding | None = None
    scales: LearnScales | None = None
    loss: Literal["mse", "fisher_diag"] = "mse"
    prediction: Prediction | None = None
    correction: Correction | None = None
    solve: Solve | None = None

    def settling(self) -> "Pass":
        """Say what is learned once the rounding is fixed."""
        assert self.rounding is not None
        fixed = replace(self.rounding, lr=None, regulariser=0.0, settle=0.0)
        return replace(self, rounding=fixed, correction=None, solve=None)

    def faster(self, factor: float) -> "Pass":
        """Raise the learning rates of all that is learned.

        Args:
            factor: By how much.

        Returns:
            The same pass with other learning rates.
        """

        def raised(rate: float | None) -> float | None:
            return None if rate is None else factor * rate

        rounding, scales = self.rounding, self.scales
        if rounding is not None:
            rounding = replace(
                rounding,
                lr=raised(rounding.lr),
                scale_lr=raised(rounding.scale_lr),
                bias_lr=raised(rounding.bias_lr),
            )
        if scales is not None:
            scales = replace(scales, lr=factor * scales.lr, zero_point_lr=raised(scales.zero_point_lr))
        return replace(self, rounding=rounding, scales=scales)


class PassBuilder(Protocol):
    """The function ``passes`` of a method's module."""

    def __call__(self, config: Any, family: Family) -> tuple[Pass, ...]:
        """Build the passes.

        Args:
            config: The method's hyper-parameters.
            family: Of the network; decides what they leave open.

        Returns:
            The passes in order.
        """
