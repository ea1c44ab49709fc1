"""The weights of a layer, its inputs and its outputs, arranged by what belongs together."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.weights import run_transposed

LARGEST = 4608
"""Inputs whose moments are kept together, at most (81 MB): 512 channels of a 3 x 3 convolution."""
POSITIONS = 400
"""Output positions of an image that count in a 2-d convolution, at least, where there are so many: neighbours
see nearly the same."""


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
            rows = torch.unflatten(rows, 2, (self.parts, self.size)).transpose(1, 2).flatten(0, 1)
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
            rows = torch.unflatten(rows, 0, (self.groups, self.parts)).transpose(1, 2).flatten(2)
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
        elif self._pointwise:
            assert isinstance(layer, nn.Conv2d)
            seen = _as_one(x[:, :, :: skip * layer.stride[0], :: skip * layer.stride[1]])
        elif isinstance(layer, nn.Conv2d):
            x = F.pad(x, _padding(layer), mode=_mode(layer))
            stride = skip * layer.stride[0], skip * layer.stride[1]
            seen = F.unfold(x, layer.kernel_size, layer.dilation, 0, stride)
            seen = torch.unflatten(seen, 1, (self.groups, self.inputs))
        else:
            seen = torch.unflatten(self._by_identity(layer, x), 1, (self.groups, self.inputs)).flatten(3)
        if self.parts == 1:
            return seen
        seen = F.pad(seen, (0, 0, 0, self.parts * self.size - self.inputs))
        return torch.unflatten(seen, 2, (self.parts, self.size)).flatten(1, 2)

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
        if self._pointwise:
            return _as_one(out)
        return torch.unflatten(out, 1, (self.groups, self.outputs)).flatten(3)

    @property
    def _pointwise(self) -> bool:
        """Whether each position sees itself alone, in all channels."""
        layer = self.layer.layer
        if not isinstance(layer, nn.Conv2d) or layer.groups > 1:
            return False
        return layer.kernel_size == (1, 1) and not any(_padding(layer))

    def _by_identity(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Run a convolution of any kind whose outputs are its inputs, one by one."""
        kernel = layer.kernel_size
        assert isinstance(kernel, tuple)
        one = torch.eye(self.inputs, dtype=x.dtype, device=x.device)
        one = torch.unflatten(one, 1, (-1, *kernel))
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            one = one.transpose(0, 1).repeat(self.groups, *(1,) * (one.dim() - 1))
            return run_transposed(layer, x, one, None)
        assert isinstance(layer, nn.modules.conv._ConvNd)
        return layer._conv_forward(x, one.repeat(self.groups, *(1,) * (one.dim() - 1)), None)


def _as_one(x: Tensor) -> Tensor:
    """Lay the channels of images out as those of one, without a copy where they lie channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).t()[None, None]


def _padding(layer: nn.Conv2d) -> list[int]:
    return list(layer._reversed_padding_repeated_twice)


def _mode(layer: nn.Conv2d) -> str:
    return "constant" if layer.padding_mode == "zeros" else layer.padding_mode
