"""What a method is made of: passes over the network, and what each learns."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from mrecg.config.methods import LearnedRounding


@dataclass(frozen=True, kw_only=True)
class LearnRounding:
    """Learn the rounding of the weights.

    Attributes:
        lr: Adam's learning rate.
        regulariser: Lambda.
        warmup: Fraction of the steps without regulariser.
        beta_start: Exponent behind the warm-up.
        beta_end: Exponent at the end.
        beta_decay: ``linear`` or ``cosine``.
    """

    lr: float
    regulariser: float
    warmup: float
    beta_start: float
    beta_end: float
    beta_decay: str

    @classmethod
    def of(cls, config: LearnedRounding, regulariser: float) -> "LearnRounding":
        """Take the values from a method's hyper-parameters.

        Args:
            config: The hyper-parameters.
            regulariser: Lambda where they leave it open.

        Returns:
            The record.
        """
        return cls(
            lr=config.lr_rounding,
            regulariser=regulariser if config.regulariser is None else config.regulariser,
            warmup=config.warmup,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_decay=config.beta_decay,
        )


@dataclass(frozen=True, kw_only=True)
class LearnScales:
    """Learn the steps of the activation grids.

    Attributes:
        lr: Adam's learning rate at the start.
        cosine: Whether it falls to 0 by a cosine.
    """

    lr: float
    cosine: bool


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One walk over all groups.

    Attributes:
        name: For curves and logs.
        steps: Optimisation steps, as a fraction of ``trainer.steps``.
        activations: Whether activations are quantized in this walk, inside the group and before it.
        keep: Probability that an element is quantized while a group is optimised, in its input and in every
            activation quantizer; 1 behind the group.
        rounding: How the rounding is learned; None: it is not.
        scales: How the activation steps are learned; None: they are not.
    """

    name: str
    steps: float = 1.0
    activations: Literal["off", "on"] = "on"
    keep: float = 1.0
    rounding: LearnRounding | None = None
    scales: LearnScales | None = None

    def faster(self, factor: float) -> "Pass":
        """Raise the learning rates.

        Args:
            factor: By how much.

        Returns:
            The same pass with other learning rates.
        """
        rounding = self.rounding and replace(self.rounding, lr=factor * self.rounding.lr)
        scales = self.scales and replace(self.scales, lr=factor * self.scales.lr)
        return replace(self, rounding=rounding, scales=scales)


class PassBuilder(Protocol):
    """The function ``passes`` of a method's module."""

    def __call__(self, config: Any, *, regulariser: float) -> tuple[Pass, ...]:
        """Build the passes.

        Args:
            config: The method's hyper-parameters.
            regulariser: Lambda where they leave it open.

        Returns:
            The passes in order.
        """
