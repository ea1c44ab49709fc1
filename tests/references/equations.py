"""The equations that the methods share, in plain torch; every gradient is autograd's."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Group = tuple[Sequence[Tensor], float, bool]
"""Parameters, their learning rate, and whether it falls to 0 by a cosine."""


class Round(torch.autograd.Function):
    """Round with the gradient of the identity; x + (round(x) - x).detach() can miss the whole number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def clipped(level: Tensor, top: int) -> Tensor:
    """Clamp to 0 ... top; gradient 1 on the grid, its ends included, and 0 beyond."""
    return torch.where(level > top, float(top), torch.where(level < 0, 0.0, level))


def fake_quantized(x: Tensor, step: Tensor, zero: float, top: int) -> Tensor:
    """LSQ, arXiv 1902.08153, equations 1 to 3, with a zero point; the gradient's factor is section 2.2's."""
    factor = 1 / math.sqrt(x.numel() * top)
    step = step * factor + (step - step * factor).detach()
    return (clipped(Round.apply(x / step) + zero, top) - zero) * step


def h(alpha: Tensor) -> Tensor:
    """AdaRound, arXiv 2004.10568, equation 23: the rectified sigmoid, zeta = 1.1, gamma = -0.1."""
    return torch.clamp(torch.sigmoid(alpha) * 1.2 - 0.1, 0, 1)


def first_alpha(weight: Tensor, step: Tensor) -> Tensor:
    """The alpha at which h is the fraction of w / s above its floor."""
    p = (weight / step - torch.floor(weight / step) + 0.1) / 1.2
    return torch.log(p / (1 - p)).detach().requires_grad_()


def regulariser(alphas: Iterable[Tensor], t: int, steps: int) -> Tensor:
    """AdaRound, equation 24; nothing in the first fifth, then beta falls linearly from 20 to 2."""
    if t < 0.2 * steps:
        return torch.zeros((), dtype=torch.float64)
    beta = 20 - 18 * (t - 0.2 * steps) / (0.8 * steps)
    return torch.stack([(1 - (2 * h(alpha) - 1).abs() ** beta).sum() for alpha in alphas]).sum()


def squared_error(out: Tensor, target: Tensor, importance: Tensor) -> Tensor:
    """BRECQ, arXiv 2102.05426, equation 10, or plain with importance 1; mean over images and space only."""
    return (importance * (out - target) ** 2).sum(dim=1).mean()


def descend(
    steps: int, groups: Sequence[Group], losses: Callable[[int], tuple[Tensor, ...]]
) -> list[list[float]]:
    """Minimise the sum of a step's losses by Adam; gives all losses of every step."""
    optimizer = torch.optim.Adam([{"params": list(params), "lr": lr} for params, lr, _ in groups])
    history = []
    for t in range(steps):
        for part, (_, lr, falls) in zip(optimizer.param_groups, groups, strict=True):
            part["lr"] = lr * (1 + math.cos(math.pi * t / steps)) / 2 if falls else lr
        terms = losses(t)
        optimizer.zero_grad()
        sum(terms, torch.zeros(())).backward()
        optimizer.step()
        history.append([term.item() for term in terms])
    return history
