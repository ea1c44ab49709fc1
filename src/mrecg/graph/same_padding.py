"""TensorFlow's "same" padding as a module of its own, in front of a plain convolution.

Convolutions that pad by the size of their input (timm's ``Conv2dSame`` and the like) stop torch.fx. They are
replaced by a padding, which is kept whole, and a torch.nn convolution, which everything else understands.
"""

import torch.nn.functional as F
from torch import Tensor, fx, nn

from mrecg.graph.ops import module_of

_KNOWN = ("Conv2dSame", "Conv2dDynamicSamePadding")
"""Classes of timm and of the efficientnet-pytorch family: ceil(size / stride) outputs, more padding after
than before."""


class SamePad2d(nn.Module):
    """Pad an image so that a convolution gives ``ceil(size / stride)`` outputs.

    Args:
        kernel: Height and width of the kernel.
        stride: Of the convolution after it.
        dilation: Of the convolution after it.
    """

    def __init__(
        self, kernel: tuple[int, ...], *, stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the padded image."""
        sides: list[int] = []
        for size, kernel, stride, dilation in zip(
            x.shape[-2:], self.kernel, self.stride, self.dilation, strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            sides = [total // 2, total - total // 2, *sides]
        return F.pad(x, sides) if any(sides) else x


def pads_itself(module: nn.Module) -> bool:
    """Return whether a module is a convolution that pads by the size of its input."""
    return isinstance(module, nn.Conv2d) and type(module).__name__ in _KNOWN


def split_paddings(traced: fx.GraphModule) -> None:
    """Replace each convolution that pads itself by a padding and a plain convolution of the same path.

    Args:
        traced: The graph, changed in place.
    """
    for node in list(traced.graph.nodes):
        layer = module_of(node)
        if layer is None or not pads_itself(layer):
            continue
        assert isinstance(layer, nn.Conv2d)
        path = str(node.target)
        pad = SamePad2d(layer.kernel_size, stride=layer.stride, dilation=layer.dilation)
        traced.add_submodule(f"{path}_pad", pad)
        traced.set_submodule(path, plain_convolution(layer))
        with traced.graph.inserting_before(node):
            padded = traced.graph.call_module(f"{path}_pad", (node.args[0],))
        padded.meta = dict(node.meta)
        node.args = (padded, *node.args[1:])


def plain_convolution(layer: nn.Conv2d) -> nn.Conv2d:
    """Make a torch.nn convolution without padding that shares a layer's parameters."""
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain.eval()
