"""Values of a graph, and their shapes."""

from typing import Any

import torch
from torch import Tensor, fx

from mrecg.graph.precision import type_of


@torch.no_grad()
def values_of(traced: fx.GraphModule, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """Run zeros through the graph and keep what every node gives.

    Args:
        shape: Of the input, with the batch dimension.

    Returns:
        Tensors, sizes and other values, by node.
    """
    values: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n] = super().run_node(n)
            return values[n]

    device, dtype = type_of(traced)
    Recorder(traced).run(torch.zeros(shape, device=device, dtype=dtype))
    return values


def output_shapes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Run one zero image through the graph and note the shape of every tensor.

    Args:
        input_shape: Channels, height and width of an image.

    Returns:
        Shape without the batch dimension, by node name.
    """
    return {
        node.name: tuple(value.shape[1:])
        for node, value in values_of(traced, (1, *input_shape)).items()
        if isinstance(value, Tensor) and node.op != "get_attr"
    }
