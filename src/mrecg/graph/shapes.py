"""Shapes of the values of a graph."""

import torch
from torch import fx


@torch.no_grad()
def output_shapes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Run one zero image through the graph and note the shape of every tensor.

    Args:
        traced: The graph.
        input_shape: Channels, height and width of an image.

    Returns:
        Shape without the batch dimension, by node name.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and n.op != "get_attr":
                shapes[n.name] = tuple(value.shape[1:])
            return value

    parameter = next(traced.parameters(), torch.zeros(1))
    Recorder(traced).run(torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype))
    return shapes
