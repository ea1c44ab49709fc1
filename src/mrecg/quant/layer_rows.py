"""The weights of a layer arranged by the inputs that they see, and the moments of these inputs."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.output_metric import Rows, Solution, damped
from mrecg.quant.weights import run_transposed

LARGEST = 4608
"""Inputs whose moments are kept together, at most (81 MB): 512 channels of a 3 x 3 convolution."""
POSITIONS = 400
"""Output positions of an image that count in a 2-d convolution, at least, where there are so many: neighbours
see nearly the same."""
_WORK = 1 << 25
"""Values of inputs that are laid out at a time, about."""


@dataclass(frozen=True)
class Arrangement:
    """How a layer's weight is arranged as rows; see `mrecg.quant.output_metric` for G, O and K.

    A channel with more than `LARGEST` inputs is cut into parts, each a group of its own: what inputs of
    different parts have in common is left out then.

    Attributes:
        layer: The layer.
        groups: Groups of the layer.
        outputs: O.
        inputs: Inputs of a channel.
        parts: Into how many parts they are cut; nearly always 1.
    """

    layer: QuantizedLayer
    groups: int
    outputs: int
    inputs: int
    parts: int

    @classmethod
    def of(cls, layer: QuantizedLayer) -> "Arrangement":
        """Find how a layer's weight is arranged."""
        groups = getattr(layer.layer, "groups", 1)
        weight = layer.reference
        transposed = isinstance(layer.layer, nn.modules.conv._ConvTransposeNd)
        outputs = weight.shape[1] if transposed else len(weight) // groups
        inputs = weight.numel() // (groups * outputs)
        return cls(layer, groups, outputs, inputs, -(-inputs // LARGEST))

    @property
    def size(self) -> int:
        """K."""
        return -(-self.inputs // self.parts)

    @property
    def transposed(self) -> bool:
        """Return whether it is a transposed convolution."""
        return isinstance(self.layer.layer, nn.modules.conv._ConvTransposeNd)

    def rows(self, weight: Tensor) -> Tensor:
        """Arrange a tensor of the weight's shape.

        Returns:
            Shape (G, O, K); zeros where the parts are larger than what is there.
        """
        if self.transposed:
            weight = weight.reshape(self.groups, -1, *weight.shape[1:]).transpose(1, 2)
        rows = weight.reshape(self.groups, self.outputs, self.inputs)
        if self.parts > 1:
            rows = F.pad(rows, (0, self.parts * self.size - self.inputs))
            rows = rows.unflatten(2, (self.parts, self.size)).transpose(1, 2).flatten(0, 1)
        return rows

    def weight(self, rows: Tensor) -> Tensor:
        """Undo `rows`.

        Args:
            rows: Shape (G, O, K).

        Returns:
            The weight's shape.
        """
        shape = self.layer.reference.shape
        if self.parts > 1:
            rows = rows.unflatten(0, (self.groups, self.parts)).transpose(1, 2).flatten(2)
            rows = rows[:, :, : self.inputs]
        if not self.transposed:
            return rows.reshape(shape)
        parts = rows.reshape(self.groups, self.outputs, shape[0] // self.groups, *shape[2:])
        return parts.transpose(1, 2).reshape(shape)

    def grids(self) -> Tensor:
        """Tell to which of the layer's grids each row belongs.

        Returns:
            Shape (G, O), int64.
        """
        device = self.layer.reference.device
        count = self.groups * self.outputs
        grids = torch.arange(count, device=device) % self.layer.scale.numel()
        return grids.view(self.groups, self.outputs).repeat_interleave(self.parts, 0)

    def skip(self, x: Tensor) -> int:
        """Tell at which distance output positions count.

        Args:
            x: The layer's input, shape (B, ...).

        Returns:
            1, or more in a 2-d convolution with many positions; the same for every input of this size.
        """
        layer = self.layer.layer
        if not isinstance(layer, nn.Conv2d):
            return 1
        positions = math.prod(-(-size // step) for size, step in zip(x.shape[2:], layer.stride, strict=True))
        return max(1, math.isqrt(positions // POSITIONS))

    def patches(self, x: Tensor) -> Tensor:
        """Lay out what each output position that counts sees.

        Args:
            x: The layer's input, shape (B, ...).

        Returns:
            Shape (N, G, K, P): of the outputs' N images (1 where they are not told apart) and P positions.
        """
        layer, skip = self.layer.layer, self.skip(x)
        if isinstance(layer, nn.Linear):
            seen = x.reshape(-1, self.inputs).t()[None, None]
        elif isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and not any(_padding(layer)):
            x = x[:, :, :: skip * layer.stride[0], :: skip * layer.stride[1]]
            seen = x.unflatten(1, (self.groups, self.inputs)).flatten(3)
        elif isinstance(layer, nn.Conv2d):
            x = F.pad(x, _padding(layer), mode=_mode(layer))
            stride = skip * layer.stride[0], skip * layer.stride[1]
            seen = F.unfold(x, layer.kernel_size, layer.dilation, 0, stride)
            seen = seen.unflatten(1, (self.groups, self.inputs))
        else:
            seen = self._by_identity(layer, x).unflatten(1, (self.groups, self.inputs)).flatten(3)
        if self.parts == 1:
            return seen
        seen = F.pad(seen, (0, 0, 0, self.parts * self.size - self.inputs))
        return seen.unflatten(2, (self.parts, self.size)).flatten(1, 2)

    def positions(self, out: Tensor, skip: int = 1) -> Tensor:
        """Arrange a layer's output like `patches`.

        Args:
            out: The layer's output, shape (B, ...).
            skip: Of the input that it was made of.

        Returns:
            Shape (N, groups, O, P).
        """
        if skip > 1:
            out = out[:, :, ::skip, ::skip]
        if isinstance(self.layer.layer, nn.Linear):
            return out.reshape(-1, self.outputs).t()[None, None]
        return out.unflatten(1, (self.groups, self.outputs)).flatten(3)

    def _by_identity(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Run a convolution of any kind whose outputs are its inputs, one by one."""
        kernel = layer.kernel_size
        assert isinstance(kernel, tuple)
        one = torch.eye(self.inputs, dtype=x.dtype, device=x.device).unflatten(1, (-1, *kernel))
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            one = one.transpose(0, 1).repeat(self.groups, *(1,) * (one.dim() - 1))
            return run_transposed(layer, x, one, None)
        assert isinstance(layer, nn.modules.conv._ConvNd)
        return layer._conv_forward(x, one.repeat(self.groups, *(1,) * (one.dim() - 1)), None)


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
            for part in x.split(step):
                self._add(at.patches(part), None)
        elif len(target) != len(x):  # its images are not told apart
            self._add(at.patches(x), target)
        else:
            for part, wanted in zip(x.split(step), target.split(step), strict=True):
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


def _padding(layer: nn.Conv2d) -> list[int]:
    return list(layer._reversed_padding_repeated_twice)


def _mode(layer: nn.Conv2d) -> str:
    return "constant" if layer.padding_mode == "zeros" else layer.padding_mode
