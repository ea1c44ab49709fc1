"""Weights of layers: where their output channels lie, and a layer run with another weight than its own."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    3: F.conv_transpose1d,
    4: F.conv_transpose2d,
    5: F.conv_transpose3d,
}
"""By the dimensions of the weight."""


@dataclass(frozen=True)
class Channels:
    """The output channels of a weight, and the shape of one number for each.

    A convolution's weight has the shape (outputs, inputs / groups, ...). A transposed convolution's has
    (inputs, outputs / groups, ...): its output channel ``g * outputs / groups + j`` is column j of the g-th
    part of the rows. One number per channel is held as (groups, outputs / groups, 1, ...) there, so that
    it broadcasts against the weight where each group has one row.

    Attributes:
        shape: Of one number per channel: (O, 1, ...), transposed (groups, O / groups, 1, ...); (1, 1, ...)
            where the whole weight is one channel.
        transposed: Whether the weight is that of a transposed convolution, and has several channels.
        rows: Rows of the weight that share their numbers: inputs / groups of a transposed convolution with
            several groups, else 1.
    """

    shape: tuple[int, ...]
    transposed: bool
    rows: int

    @classmethod
    def of(cls, layer: nn.Module, *, per_tensor: bool) -> "Channels":
        """Find the channels of a layer.

        Args:
            layer: A convolution, transposed convolution or linear module.
            per_tensor: Take the whole weight as one channel.
        """
        weight = layer.weight
        assert isinstance(weight, Tensor)
        ones = (1,) * (weight.dim() - 1)
        if per_tensor:
            return cls((1, *ones), False, 1)
        if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
            return cls((len(weight), *ones), False, 1)
        rows = 1 if layer.groups == 1 else len(weight) // layer.groups
        return cls((layer.groups, weight.shape[1], *ones[1:]), True, rows)

    def values(self, weight: Tensor) -> Tensor:
        """Arrange a weight by channels.

        Args:
            weight: The weight, or a tensor of its shape.

        Returns:
            Shape (channels, inputs of a channel, ...); (1, size) where the whole weight is one channel.
        """
        if self.transposed:
            groups, columns = self.shape[:2]
            parts = weight.reshape(groups, -1, columns, *weight.shape[2:]).transpose(1, 2)
            return parts.reshape(groups * columns, *parts.shape[2:])
        return weight if self.shape[0] == len(weight) else weight.reshape(1, -1)

    def spread(self, numbers: Tensor) -> Tensor:
        """Lay one number per channel out so that it broadcasts against the weight.

        Args:
            numbers: Of `shape`.

        Returns:
            The same, or each row as often as its group has rows.
        """
        if self.rows == 1:
            return numbers
        return numbers.unsqueeze(1).expand(-1, self.rows, *numbers.shape[1:]).flatten(0, 1)

    def sum(self, values: Tensor) -> Tensor:
        """Add up what belongs to each channel.

        Args:
            values: Of the weight's shape.

        Returns:
            Of `shape`.
        """
        if self.rows > 1:
            values = values.reshape(self.shape[0], self.rows, *values.shape[1:]).sum(1)
        return values.sum_to_size(self.shape)

    def adopt(self, saved: Tensor) -> Tensor:
        """Read what was saved for these channels, also by version 0.1.0.

        That version had one grid for the channels of the same place in all groups of a transposed
        convolution.

        Args:
            saved: One number per channel, or per place in a group.

        Returns:
            One number per channel; unchanged where it is neither.
        """
        if self.transposed and saved.shape == (1, *self.shape[1:]):
            return saved.expand(self.shape).clone(memory_format=torch.contiguous_format)
        return saved


def apply_weight(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """Run a layer with another weight than its own.

    Args:
        layer: A convolution, transposed convolution or linear module.
        x: The layer's input.
        weight: A weight of the shape of ``layer.weight``.
    """
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return run_transposed(layer, x, weight, layer.bias)
    assert isinstance(layer, nn.modules.conv._ConvNd)
    if isinstance(layer, nn.Conv2d) and _corrupts_memory(layer):
        return F.conv2d(x[..., :: layer.stride[0], :: layer.stride[1]], weight, layer.bias)
    return layer._conv_forward(x, weight, layer.bias)


def run_transposed(
    layer: nn.modules.conv._ConvTransposeNd, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Run a transposed convolution with a weight and bias that are given, perhaps of other outputs."""
    placement = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
    return _TRANSPOSED[weight.dim()](x, weight, bias, *placement)


def _corrupts_memory(layer: nn.Conv2d) -> bool:
    """Return whether the gradient of the weight may be written out of bounds.

    oneDNN does so on processors that have AVX2 and no AVX-512, for strided 1 x 1 convolutions with 2 to 7
    input channels in channels_last (found in torch 2.15). The same convolution without its stride, of the
    pixels that it reads, is right everywhere.
    """
    plain = layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), "valid")
    return plain and layer.in_channels < 8 and max(layer.stride) > 1
