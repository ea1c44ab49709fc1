"""Count the work of a unit from the shapes in it: multiply-accumulates and elements of activations."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, fx, nn

from mrecg.graph.ops import module_of
from mrecg.graph.shapes import values_of

IMAGES = 2
"""Images that the shapes are seen on. Not one: a ``squeeze`` would take the batch dimension away."""


def batch_shapes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Run a batch of zero images through a graph and note the shape of every tensor.

    Args:
        input_shape: Channels, height and width of an image.

    Returns:
        Shape by node name, of `IMAGES` images and with all dimensions: the first is not always the batch (of
        tokens that were folded into it, say).
    """
    return {
        node.name: tuple(value.shape)
        for node, value in values_of(traced, (IMAGES, *input_shape)).items()
        if isinstance(value, Tensor) and node.op not in ("get_attr", "output")
    }


def macs(node: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Count the multiply-accumulates of a weight layer: its weights times the places that it is applied at.

    Args:
        node: A convolution or linear layer.
        shapes: As `batch_shapes` gives them; empty where they are not known.

    Returns:
        Multiply-accumulates of a forward pass, per image; 0 without shapes.
    """
    layer = module_of(node)
    assert layer is not None and isinstance(layer.weight, Tensor)
    # A transposed convolution is applied at each place of its input.
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    shape = shapes.get(node.all_input_nodes[0].name if transposed else node.name)
    if shape is None:
        return 0
    # Channels stand second in an image and last in what a linear layer makes.
    places = math.prod(shape[:-1]) if isinstance(layer, nn.Linear) else math.prod((shape[0], *shape[2:]))
    return layer.weight.numel() * places // IMAGES


def activations(nodes: Sequence[fx.Node], source: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Count the elements that go into a unit and that its operations make.

    Args:
        nodes: The unit's nodes.
        source: The node whose value enters.
        shapes: As `batch_shapes` gives them; empty where they are not known.

    Returns:
        Elements per image; 0 without shapes.
    """
    return sum(math.prod(shapes[node.name]) for node in [source, *nodes] if node.name in shapes) // IMAGES
