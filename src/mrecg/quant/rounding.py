"""Soft rounding of AdaRound: pure functions of the rounding variable alpha.

Source: Nagel et al., Up or Down?, arXiv 2004.10568, equations 22 to 25.
"""

import math

import torch
from torch import Tensor

ZETA, GAMMA = 1.1, -0.1
"""The stretch of the sigmoid."""


def soft_fraction(alpha: Tensor) -> Tensor:
    """The rectified sigmoid h(alpha): how far up a weight is rounded.

    Args:
        alpha: Rounding variable, any shape.

    Returns:
        ``clamp(sigmoid(alpha) * (zeta - gamma) + gamma, 0, 1)``.

    >>> soft_fraction(torch.tensor([-9.0, 0.0, 9.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (torch.sigmoid(alpha) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def initial_alpha(fraction: Tensor) -> Tensor:
    """The alpha at which `soft_fraction` equals a given fraction.

    Args:
        fraction: In [0, 1): the part of w / s above its floor.

    Returns:
        alpha, same shape.
    """
    return -torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1)


def soft_weight(base: Tensor, h: Tensor | float, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """The weight while its rounding is learned.

    Args:
        base: ``floor(w / s) + z``.
        h: `soft_fraction` of alpha, same shape.
        scale: Broadcasts against ``base``.
        zero_point: Broadcasts against ``base``.
        top: Largest integer of the grid.

    Returns:
        ``s * (clamp(base + h, 0, top) - z)``.
    """
    return ((base + h).clamp(0, top) - zero_point) * scale


def fraction_slope(alpha: Tensor) -> Tensor:
    """Derivative of `soft_fraction`.

    Args:
        alpha: Rounding variable, any shape.

    Returns:
        ``(zeta - gamma) * sigmoid(alpha) * (1 - sigmoid(alpha))``, and 0 where h is clipped.
    """
    sigmoid = torch.sigmoid(alpha)
    stretched = sigmoid * (ZETA - GAMMA) + GAMMA
    return sigmoid * (1 - sigmoid) * (ZETA - GAMMA) * ((stretched >= 0) & (stretched <= 1))


def regulariser(h: Tensor, beta: float | Tensor) -> Tensor:
    """Drive every h to 0 or 1.

    Args:
        h: `soft_fraction` of alpha.
        beta: Exponent; large values leave h free near 1/2, small ones do not.

    Returns:
        ``sum(1 - |2 h - 1|^beta)``, one number.
    """
    return (1 - (2 * h - 1).abs().pow(beta)).sum()


def regulariser_slope(h: Tensor, beta: float | Tensor) -> Tensor:
    """Derivative of `regulariser` with respect to h.

    Args:
        h: `soft_fraction` of alpha.
        beta: Exponent, > 1.

    Returns:
        ``-2 beta |2 h - 1|^(beta - 1) sign(2 h - 1)``, shape of ``h``.
    """
    distance = 2 * h - 1
    return distance.abs().pow_(beta - 1).mul_(distance.sign()).mul_(-2 * beta)


def beta_at(step: int, steps: int, *, warmup: float, start: float, end: float, decay: str) -> float | None:
    """The regulariser's exponent at a step.

    Args:
        step: 0 to ``steps`` - 1.
        steps: All steps of the group.
        warmup: Fraction of the steps without the regulariser.
        start: Exponent when it sets in.
        end: Exponent at the last step.
        decay: ``linear`` (as the research codes do) or ``cosine`` (as AIMET does).

    Returns:
        The exponent; None during the warm-up.

    >>> beta_at(0, 100, warmup=0.2, start=20, end=2, decay="linear") is None
    True
    >>> beta_at(60, 100, warmup=0.2, start=20, end=2, decay="linear")
    11.0
    """
    begin = warmup * steps
    if step < begin:
        return None
    passed = (step - begin) / (steps - begin)
    left = 0.5 * (1 + math.cos(math.pi * passed)) if decay == "cosine" else 1 - passed
    return end + (start - end) * left
