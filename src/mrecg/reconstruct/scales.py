"""The steps of grids while they are learned: they stay positive, and learning rates do not overwhelm them.

Learning rates of steps are absolute, as published, for activations and weights of ordinary size. In a network
whose activations fade to 1e-8 one step of the optimiser would be a thousand times the step of a grid.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-6
"""Learned steps are kept at least this large, or at a part of what they began with where that is less."""
PART = 0.01
"""Of what a small step began with: its floor, and the largest change by one step of the optimiser."""
OVERWHELMING = 10.0
"""Learning rate over the step of a grid from which on the change is limited."""


class LearnedScales:
    """Sees to what the optimiser does to learned steps.

    Args:
        scales: Each tensor of steps with its learning rate, before any optimisation.
    """

    def __init__(self, scales: Sequence[tuple[Tensor, float]]) -> None:
        self._scales = [scale for scale, _ in scales]
        self._floors = [(scale.detach() * PART).clamp(max=SMALLEST) for scale in self._scales]
        self._slow: list[tuple[Tensor, Tensor]] = []
        for scale, rate in scales:
            begun = scale.detach()
            if bool((begun * OVERWHELMING < rate).any()):
                pace = torch.where(begun * OVERWHELMING < rate, begun * (PART / rate), torch.ones_like(begun))
                self._slow.append((scale, pace))
        self._before: list[Tensor] = []

    @torch.no_grad()
    def before(self) -> None:
        """Remember the steps whose change is limited; call it before the optimiser's step."""
        self._before = [scale.detach().clone() for scale, _ in self._slow]

    @torch.no_grad()
    def after(self) -> None:
        """Limit the change of small steps and keep all positive; call it after the optimiser's step."""
        for (scale, pace), before in zip(self._slow, self._before, strict=True):
            scale.copy_(torch.lerp(before, scale, pace))
        if self._scales:
            torch._foreach_clamp_min_(self._scales, self._floors)
