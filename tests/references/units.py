"""The units that the references run, as plain tensors, and what a reference is given and gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.references.equations import clipped, fake_quantized, first_alpha, h

Apply = Callable[[int, Tensor], Tensor]


def plain(conv: Apply, quantize: Apply, x: Tensor) -> Tensor:
    """Run a convolution with ReLU."""
    return quantize(0, F.relu(conv(0, x)))


def basic(conv: Apply, quantize: Apply, x: Tensor) -> Tensor:
    """Run a ResNet's basic block; the second convolution feeds the addition as it is."""
    y = quantize(0, F.relu(conv(0, x)))
    return quantize(1, F.relu(conv(1, y) + x))


def inverted(conv: Apply, quantize: Apply, x: Tensor) -> Tensor:
    """Run MobileNetV2's inverted residual; its output is signed."""
    y = quantize(0, F.relu6(conv(0, x)))
    y = quantize(1, F.relu6(conv(1, y)))
    return quantize(2, conv(2, y) + x)


@dataclass(frozen=True)
class Layer:
    """A convolution with its BatchNorm folded in, and the grid of each output channel."""

    weight: Tensor
    bias: Tensor
    padding: int
    groups: int
    step: Tensor
    zero: Tensor
    top: int

    def soft(self, alpha: Tensor) -> Tensor:
        """AdaRound, arXiv 2004.10568, equation 22, with a zero point."""
        return self.step * (clipped(self.floor + h(alpha) + self.zero, self.top) - self.zero)

    def hard(self, integers: Tensor) -> Tensor:
        """Read integers back."""
        return self.step * (integers - self.zero)

    def rounded(self, alpha: Tensor) -> Tensor:
        """The integers in the end: up where alpha >= 0."""
        return (self.floor + (alpha >= 0) + self.zero).clamp(0, self.top)

    @property
    def nearest(self) -> Tensor:
        """The integers in the beginning."""
        return ((self.weight / self.step).round() + self.zero).clamp(0, self.top)

    @property
    def floor(self) -> Tensor:
        """The integer below w / s."""
        return torch.floor(self.weight / self.step)


@dataclass(frozen=True)
class Grid:
    """An activation's."""

    step: Tensor
    zero: float
    top: int


@dataclass(frozen=True)
class Unit:
    """One unit in the beginning."""

    wiring: Callable[[Apply, Apply, Tensor], Tensor]
    layers: Sequence[Layer]
    grids: Sequence[Grid]

    def run(
        self,
        x: Tensor,
        weights: Sequence[Tensor],
        steps: Sequence[Tensor] | None,
        masks: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Run it; steps None: activations stay in full precision; masks: only where True they do not."""

        def conv(i: int, y: Tensor) -> Tensor:
            layer = self.layers[i]
            return F.conv2d(y, weights[i], layer.bias, padding=layer.padding, groups=layer.groups)

        def quantize(i: int, y: Tensor) -> Tensor:
            if steps is None:
                return y
            low = fake_quantized(y, steps[i], self.grids[i].zero, self.grids[i].top)
            return low if masks is None else torch.where(masks[i], low, y)

        return self.wiring(conv, quantize, x)

    def alphas(self) -> list[Tensor]:
        """Rounding variables at their start."""
        return [first_alpha(layer.weight, layer.step) for layer in self.layers]

    def steps(self) -> list[Tensor]:
        """The activations' steps at their start."""
        return [grid.step.clone().requires_grad_() for grid in self.grids]

    def soft(self, alphas: Sequence[Tensor]) -> list[Tensor]:
        """The weights in a step."""
        return [layer.soft(alpha) for layer, alpha in zip(self.layers, alphas, strict=True)]

    def rounded(self, alphas: Sequence[Tensor]) -> list[Tensor]:
        """The integers in the end."""
        return [layer.rounded(alpha) for layer, alpha in zip(self.layers, alphas, strict=True)]

    def hard(self, integers: Sequence[Tensor]) -> list[Tensor]:
        """The weights of given integers."""
        return [layer.hard(q) for layer, q in zip(self.layers, integers, strict=True)]

    def nearest(self) -> list[Tensor]:
        """The integers in the beginning."""
        return [layer.nearest for layer in self.layers]


@dataclass(frozen=True)
class Data:
    """What a unit learns from: N images behind both prefixes, its FP output, and the weight of each error."""

    quantized: Tensor
    full: Tensor
    target: Tensor
    importance: Tensor


@dataclass(frozen=True)
class Draws:
    """Of each step: the images; the masks of the unit's input and of its activations, True for quantized."""

    images: Sequence[Tensor]
    masks: Sequence[Sequence[Tensor]]


@dataclass(frozen=True)
class Outcome:
    """Losses of each step (reconstruction first, rounding second) and what was learned."""

    losses: list[list[float]]
    integers: Sequence[Tensor]
    alphas: Sequence[Tensor] = ()
    steps: Sequence[Tensor] = ()
    weight_steps: Sequence[Tensor] = ()
    biases: Sequence[Tensor] = ()
