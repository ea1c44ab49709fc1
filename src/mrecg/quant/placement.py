"""Where quantizers stand, derived from the graph by one principle.

The last value in front of every weight layer is quantized, there, once, and nothing before it: whatever
lies between two layers (elementwise functions, shapes, casts, normalisations that cannot be folded, joins,
resampling) computes with values that are not rounded again. A value has one quantizer for all that read it,
so a shortcut carries the quantized value where a layer reads it, too. Where an operation only moves values,
the quantizer stands before it, which is the same. What no weight layer reads is not quantized.

In front of an output layer an average over all positions is passed: BRECQ (arXiv 2102.05426) and QDrop
(arXiv 2203.05740) quantize the feature map, not its mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf

from torch import fx

from mrecg.graph.moves import averages_all, moves, taken_apart, value_inputs, value_users
from mrecg.graph.ops import clamp_of, has_own_weights, is_concatenation, is_weight_layer, operation

IMAGE = None
"""What stands for the network's input among the sources of a value."""
Sources = frozenset[fx.Node | None]


@dataclass(frozen=True)
class Point:
    """A value that is quantized.

    Attributes:
        node: Whose value.
        readers: The weight layers whose input stands on this grid.
        sources: The nearest layers before it that it is computed from, and `IMAGE`.
    """

    node: fx.Node
    readers: tuple[fx.Node, ...]
    sources: Sources


@dataclass(frozen=True)
class Reach:
    """What the layers of a graph read and what reads them.

    Attributes:
        layers: All weight layers in order.
        first: Those that read the image, whatever else they read, with no layer between.
        last: Those whose result reaches the output with no weight layer between.
        sources: By node: the nearest layers that its value is computed from, and `IMAGE`.
    """

    layers: tuple[fx.Node, ...]
    first: frozenset[fx.Node]
    last: frozenset[fx.Node]
    sources: Mapping[fx.Node, Sources] = field(repr=False)


def reach(graph: fx.Graph) -> Reach:
    """Find the first and the last layers of a graph by what can be reached from where.

    Args:
        graph: A folded graph.

    Returns:
        Layers and sources.
    """
    layers = tuple(node for node in graph.nodes if is_weight_layer(node))
    sources: dict[fx.Node, Sources] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            sources[node] = frozenset([IMAGE])
        elif has_own_weights(node):
            sources[node] = frozenset([node])
        else:
            sources[node] = frozenset().union(*(sources[source] for source in value_inputs(node)))
    leaves: set[fx.Node] = set()  # nodes whose value reaches the output
    for node in reversed(graph.nodes):
        users = value_users(node)
        if any(user.op == "output" or (user in leaves and not is_weight_layer(user)) for user in users):
            leaves.add(node)
    first = frozenset(layer for layer in layers if IMAGE in sources[_input(layer)])
    return Reach(layers, first, frozenset(layer for layer in layers if layer in leaves), sources)


def place(graph: fx.Graph, found: Reach, finer: frozenset[fx.Node] = frozenset()) -> list[Point]:
    """Find the values that are quantized.

    Args:
        graph: A folded graph.
        found: From `reach`.
        finer: Layers whose inputs have more bits than those of the others.

    Returns:
        One point for each grid that a weight layer's input stands on, in the graph's order. The image is
        among them where a layer reads it.
    """
    wanted: dict[fx.Node, list[fx.Node]] = {}
    for layer in found.layers:
        if found.sources[_input(layer)]:  # what is computed from parameters alone is no activation
            wanted.setdefault(_furthest_back(_input(layer), layer, found), []).append(layer)
    points: dict[fx.Node, list[fx.Node]] = {}
    grids: dict[fx.Node, fx.Node | None] = {}
    for node in graph.nodes:
        grids[node] = _grid(node, grids)
        if node not in wanted:
            continue
        given = grids[node]
        # A value that stands on a grid already is not rounded again, unless that grid is too fine.
        if given is not None and (not finer.issuperset(points[given]) or finer.issuperset(wanted[node])):
            points[given] += wanted[node]
        else:
            points[node] = wanted[node]
            grids[node] = node
    return [Point(node, tuple(readers), found.sources[node]) for node, readers in points.items()]


def _input(layer: fx.Node) -> fx.Node:
    return layer.all_input_nodes[0]


def _furthest_back(node: fx.Node, layer: fx.Node, found: Reach) -> fx.Node:
    """Go back from what a layer reads to the first place where its quantizer can stand just as well."""
    while True:
        passed = moves(node) or (layer in found.last and _in_front_of_outputs(node, found))
        source = taken_apart(node) or (value_inputs(node)[0] if passed else None)
        if source is None or len(value_users(source)) != 1 or _is_part_of_tuple(node, source):
            return node
        node = source


def _in_front_of_outputs(node: fx.Node, found: Reach) -> bool:
    return averages_all(node) and all(user in found.last or moves(user) for user in value_users(node))


def _is_part_of_tuple(node: fx.Node, source: fx.Node) -> bool:
    """Tell whether a node takes a tensor out of several: what it takes it from is no value."""
    taken = operation(node) == "getitem" and isinstance(node.args[1], int) and taken_apart(node) is None
    return taken and source.op != "placeholder"


def _grid(node: fx.Node, grids: Mapping[fx.Node, fx.Node | None]) -> fx.Node | None:
    """The point on whose grid all values of a node stand, as far as is known; None: there is none."""
    sources = value_inputs(node)
    if (part := taken_apart(node)) is not None:
        return grids[part]
    if moves(node) or (sources and _clamps_at_zero(node)):
        return grids[sources[0]]
    if is_concatenation(node):
        found = {grids[source] for source in sources}
        return found.pop() if len(found) == 1 else None
    return None


def _clamps_at_zero(node: fx.Node) -> bool:
    """Tell whether an activation function maps each value to itself or to zero, which every grid holds."""
    bounds = clamp_of(node)
    return bounds is not None and all(bound == 0 or isinf(bound) for bound in bounds)
