"""Which layers and activations are quantized, and to how many bits.

An activation is quantized after the activation function of its layer (or after the layer where none follows),
likewise after an add or multiply and after a normalisation that could not be folded; not where a layer's own
value only reaches such places (a residual add, the BatchNorm at the head of a dense layer), and not where no
weight layer follows. The network's input is quantized only where ``bits.input`` asks for it.

Source: BRECQ arXiv 2102.05426 and QDrop arXiv 2203.05740, section "implementation details".
"""

from dataclasses import dataclass

from torch import fx

from mrecg.config.schema import FLOAT_BITS, BitsConfig
from mrecg.graph.ops import (
    is_activation,
    is_addition,
    is_arithmetic_join,
    is_gate,
    is_normalisation,
    is_weight_layer,
)

_STEM_BITS = 8
"""The number that ``bits.stem_output`` takes besides its words."""


@dataclass(frozen=True)
class Policy:
    """Bits of everything that is quantized.

    Attributes:
        layers: Weight bits by module path; a path that is missing is not quantized.
        activations: Bits by the name of the node whose value is quantized, in the graph's order.
    """

    layers: dict[str, int]
    activations: dict[str, int]


def policy(graph: fx.Graph, bits: BitsConfig) -> Policy:
    """Decide the bits of every layer and activation.

    Args:
        graph: A folded graph.
        bits: The configured widths.

    Returns:
        The policy; entries of 32 bits are left out.
    """
    boundary = bits.boundary
    nodes = [node for node in graph.nodes if is_weight_layer(node)]
    first, last = nodes[0], nodes[-1]
    stem = _after_activation(first)
    layers = {str(node.target): bits.weight for node in nodes}
    activations = {node.name: bits.activation for node in _points(graph)}
    if boundary is not None:
        layers[str(first.target)] = layers[str(last.target)] = max(boundary, bits.weight)
        for node in _feeding(last, set(activations)):
            activations[node.name] = max(boundary, bits.activation)
        if bits.stem_output == "high" and stem.name in activations:
            activations[stem.name] = max(boundary, bits.activation)
    if bits.stem_output == _STEM_BITS and stem.name in activations:
        activations[stem.name] = _STEM_BITS
    # With all other layers in floating point there is nothing for the boundary and the stem to differ from.
    if bits.weight == FLOAT_BITS:
        layers = {}
    if bits.activation == FLOAT_BITS:
        activations = {}
    image = next(node for node in graph.nodes if node.op == "placeholder")
    return Policy(layers=_low(layers), activations=_low({image.name: bits.input} | activations))


def _low(bits: dict[str, int]) -> dict[str, int]:
    return {name: width for name, width in bits.items() if width < FLOAT_BITS}


def _after_activation(node: fx.Node) -> fx.Node:
    """The node that holds a layer's value behind its normalisation and activation function, if any."""
    while len(node.users) == 1:
        (user,) = node.users
        if not (is_activation(user) or is_normalisation(user)):
            break
        node = user
    return node


def _points(graph: fx.Graph) -> list[fx.Node]:
    needed: set[fx.Node] = set()  # nodes from which a weight layer is reached
    for node in reversed(graph.nodes):
        if any(user in needed or is_weight_layer(user) for user in node.users):
            needed.add(node)
    points = []
    for node in graph.nodes:
        if not (is_weight_layer(node) or is_arithmetic_join(node) or is_normalisation(node)):
            continue
        value = _after_activation(node)
        remade = value is node and is_weight_layer(node) and not _reaches_a_layer(node)
        if value in needed and not remade and value not in points:
            points.append(value)
    return points


def _reaches_a_layer(node: fx.Node) -> bool:
    """Tell whether a layer's value gets to another weight layer without becoming a new one on the way."""
    seen, frontier = set(), list(node.users)
    while frontier:
        user = frontier.pop()
        if user in seen:
            continue
        seen.add(user)
        if is_weight_layer(user) or is_gate(user):
            return True
        if not (is_addition(user) or is_normalisation(user)):
            frontier.extend(user.users)
    return False


def _feeding(layer: fx.Node, points: set[str]) -> list[fx.Node]:
    """The quantized activations that reach a layer through weightless nodes only."""
    found, frontier = [], list(layer.all_input_nodes)
    while frontier:
        node = frontier.pop()
        if node.name in points:
            found.append(node)
        elif not (is_weight_layer(node) or is_arithmetic_join(node)):
            frontier.extend(node.all_input_nodes)
    return found
