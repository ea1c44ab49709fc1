"""The losses of optimisation steps, on the device until a chunk of steps is done."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mrecg.reconstruct.events import CurvePoint

Outputs = tuple[Tensor, Tensor | None, Tensor | None]
"""Reconstruction loss, prediction difference and regulariser of a step."""


class Losses(NamedTuple):
    """The losses of a step, where they were computed.

    Attributes:
        reconstruction: One number.
        prediction: One number; None where it does not count.
        rounding: One number; None while the regulariser is off.
        beta: Exponent of the regulariser; None while it is off.
    """

    step: int
    reconstruction: Tensor
    prediction: Tensor | None
    rounding: Tensor | None
    beta: float | None


def read(logged: Sequence[Losses]) -> list[CurvePoint]:
    """Read the losses of a chunk's logged steps, all at once.

    Args:
        logged: The steps.
    """
    if not logged:
        return []
    none = torch.zeros_like(logged[0].reconstruction)
    parts = [part for each in logged for part in (each.reconstruction, each.prediction, each.rounding)]
    numbers = iter(torch.stack([none if part is None else part for part in parts]).tolist())
    return [
        CurvePoint(
            step=each.step,
            reconstruction=reconstruction,
            rounding=None if each.rounding is None else rounding,
            total=reconstruction + prediction + rounding,
            beta=each.beta,
            prediction=None if each.prediction is None else prediction,
        )
        for each, reconstruction, prediction, rounding in zip(logged, numbers, numbers, numbers, strict=True)
    ]
