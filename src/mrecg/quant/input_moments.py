"""The moments of what enters a layer, and of that with what should leave it."""

import math

import torch
from torch import Tensor

from mrecg.quant.layer_rows import Arrangement
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.output_metric import Rows, Solution, damped

_WORK = 1 << 25
"""Values of inputs that are laid out at a time, about."""


class Moments:
    """Sums over all output positions of a layer: of its inputs, their products, and those with a target.

    Attributes:
        arrangement: Of the layer.
        tensors: All sums, to be added up over processes; float32, those of the target float64.
    """

    def __init__(self, layer: QuantizedLayer) -> None:
        self.arrangement = at = Arrangement.of(layer)
        groups, like = at.groups * at.parts, layer.reference.detach()
        self._products = like.new_zeros(groups, at.size, at.size)
        self._sums = like.new_zeros(groups, at.size)
        self._cross = like.new_zeros(groups, at.size, at.outputs)
        self._target = like.new_zeros(2, at.groups, at.outputs, dtype=torch.float64)
        self._count = like.new_zeros(1, dtype=torch.float64)

    @property
    def tensors(self) -> list[Tensor]:
        """All sums, to be added up over processes."""
        return [self._products, self._sums, self._cross, self._target, self._count]

    @torch.no_grad()
    def add(self, x: Tensor, target: Tensor | None = None) -> None:
        """Add the inputs of some images.

        Args:
            x: What enters the layer, shape (B, ...).
            target: What its output should be, arranged by `Arrangement.positions`; None: that is not asked
                for.
        """
        at = self.arrangement
        step = max(1, _WORK // max(1, at.groups * at.inputs * math.prod(x.shape[2:]) // at.skip(x) ** 2))
        if target is None:
            for part in torch.split(x, step):
                self._add(at.patches(part), None)
        elif len(target) != len(x):  # its images are not told apart
            self._add(at.patches(x), target)
        else:
            for part, wanted in zip(torch.split(x, step), torch.split(target, step), strict=True):
                self._add(at.patches(part), wanted)

    def _add(self, seen: Tensor, target: Tensor | None) -> None:
        self._count += seen.shape[0] * seen.shape[3]
        self._sums += seen.sum((0, 3))
        self._products += _pairs(seen, seen)
        if target is not None:
            self._target[0] += target.sum((0, 3), dtype=torch.float64)
            self._target[1] += target.double().square().sum((0, 3))
            self._cross += _pairs(seen, target.repeat_interleave(self.arrangement.parts, 1))

    def mean(self) -> Tensor:
        """Mean of the inputs, shape (G, K)."""
        return self._sums / self._count.to(self._sums.dtype)

    def matrix(self, *, centred: bool) -> Tensor:
        """Moments of the inputs.

        Args:
            centred: Around their mean.

        Returns:
            Shape (G, K, K), not damped.
        """
        made = self._products / self._count.to(self._products.dtype)
        mean = self.mean()
        return made - mean.unsqueeze(2) * mean.unsqueeze(1) if centred else made

    def target(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the target, each of shape (groups, O), float64."""
        mean, square = self._target / self._count
        return mean, (square - mean.square()).clamp(min=0)

    def cross(self, *, centred: bool) -> Tensor:
        """Moments of the inputs with the target.

        Args:
            centred: Around their means.

        Returns:
            Shape (G, K, O).
        """
        made = self._cross / self._count.to(self._cross.dtype)
        if not centred:
            return made
        target = self.target()[0].to(made.dtype).repeat_interleave(self.arrangement.parts, 0)
        return made - self.mean().unsqueeze(2) * target.unsqueeze(1)

    def problem(self, weights: Tensor, *, centred: bool) -> Rows:
        """State what is to be solved.

        Args:
            weights: To be met, shape (G, O, K).
            centred: Whether the mean of the output is corrected afterwards.
        """
        at = self.arrangement
        return Rows(weights, damped(self.matrix(centred=centred)), at.grids(), at.layer.top)

    @torch.no_grad()
    def take(self, found: Solution) -> None:
        """Give the layer a grid and integers."""
        at = self.arrangement
        at.layer.scale.copy_(found.scale.view(at.layer.scale.shape))
        at.layer.zero_point.copy_(found.zero_point.view(at.layer.scale.shape))
        at.layer.harden(at.weight(found.integers))


def _pairs(one: Tensor, other: Tensor) -> Tensor:
    """Sum the products of all pairs over images and positions; shapes (N, G, K, P) and (N, G, O, P)."""
    if one.shape[2] * other.shape[2] <= one.shape[3]:
        return (one @ other.transpose(2, 3)).sum(0)
    flat = [values.permute(1, 2, 0, 3).flatten(2) for values in (one, other)]
    return torch.bmm(flat[0], flat[1].transpose(1, 2))
