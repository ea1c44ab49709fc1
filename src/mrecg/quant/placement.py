"""Places of quantizers, derived from the graph by one principle.

The last value before every weight layer is quantized, there, once, and nothing before it: all that
lies between two layers (elementwise functions, shapes, casts, normalisations that cannot be folded, joins,
resampling) computes with values that are not rounded again. A value has one quantizer for all that read it,
so a shortcut carries the quantized value where a layer reads it, too. Where an operation only moves values,
the quantizer stands before it, which is the same. What no weight layer reads is not quantized.

In front of an output layer an average over all positions is passed: BRECQ (arXiv 2102.05426) and QDrop
(arXiv 2203.05740) quantize the feature map, not its mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf

from torch import fx

from mrecg.graph.moves import averages_all, moves, value_inputs
from mrecg.graph.ops import (
    clamp_of,
    has_own_weights,
    is_concatenation,
    is_number,
    is_weight_layer,
    operation,
)
from mrecg.graph.pack import PACKING

IMAGE = None
"""Stands for the network's input among the sources of a value."""
Sources = frozenset[fx.Node | None]


@dataclass(frozen=True)
class Point:
    """A value that is quantized.

    Attributes:
        readers: The weight layers whose input stands on this grid.
        sources: The nearest layers before it that it is computed from, and `IMAGE`.
    """

    node: fx.Node
    readers: tuple[fx.Node, ...]
    sources: Sources


@dataclass(frozen=True)
class Reach:
    """Readers and sources of the layers of a graph.

    Where several tensors leave a unit together (`mrecg.graph.pack`), what reads one of them after the cut
    reads the value itself: where a network is cut decides nothing here.

    Attributes:
        layers: All weight layers in order.
        first: Those that read the image, with no layer between, even if they read more.
        last: Those whose result reaches the output with no weight layer between.
        inputs: By node: the values that it computes with, each once.
        users: By node: what computes with its value; readers of its size alone do not count.
        sources: By node: the nearest layers that its value is computed from, and `IMAGE`.
    """

    layers: tuple[fx.Node, ...]
    first: frozenset[fx.Node]
    last: frozenset[fx.Node]
    inputs: Mapping[fx.Node, Sequence[fx.Node]] = field(repr=False)
    users: Mapping[fx.Node, Sequence[fx.Node]] = field(repr=False)
    sources: Mapping[fx.Node, Sources] = field(repr=False)


def reach(graph: fx.Graph) -> Reach:
    """Find the first and the last layers of a graph by what can be reached from where.

    Args:
        graph: A folded graph.

    Returns:
        Layers and sources.
    """
    layers = tuple(node for node in graph.nodes if is_weight_layer(node))
    named = {node.name: node for node in graph.nodes}
    inputs: dict[fx.Node, Sequence[fx.Node]] = {}
    users: dict[fx.Node, list[fx.Node]] = {node: [] for node in graph.nodes}
    sources: dict[fx.Node, Sources] = {}
    for node in graph.nodes:
        values = (named[source.meta.get(PACKING) or source.name] for source in value_inputs(node))
        inputs[node] = tuple(dict.fromkeys(values))
        if PACKING not in node.meta and not is_number(node):
            for source in inputs[node]:
                users[source].append(node)
        if node.op == "placeholder":
            sources[node] = frozenset([IMAGE])
        elif has_own_weights(node):
            sources[node] = frozenset([node])
        else:
            sources[node] = frozenset().union(*(sources[source] for source in inputs[node]))
    leaves: set[fx.Node] = set()  # nodes whose value reaches the output
    for node in reversed(graph.nodes):
        # An output that is read on (a feature map of a backbone) is an inner value.
        ends = len(users[node]) == 1 and users[node][0].op == "output"
        if ends or any(user in leaves and not is_weight_layer(user) for user in users[node]):
            leaves.add(node)
    first = frozenset(layer for layer in layers if any(IMAGE in sources[value] for value in inputs[layer]))
    last = frozenset(layer for layer in layers if layer in leaves)
    return Reach(layers, first, last, inputs, users, sources)


def place(
    graph: fx.Graph, found: Reach, asked: Mapping[fx.Node, tuple[int, bool]] | None = None
) -> list[Point]:
    """Find the values that are quantized.

    Args:
        graph: A folded graph.
        found: From `reach`.
        asked: How fine a grid each layer may read, as numbers that compare; None: all the same.

    Returns:
        One point for each grid that a weight layer's input stands on, in the graph's order. The image is
        among them where a layer reads it.
    """
    wanted: dict[fx.Node, list[fx.Node]] = {}
    fine = asked or dict.fromkeys(found.layers, (0, False))
    for layer in found.layers:
        for value in found.inputs[layer]:
            if found.sources[value]:  # what is computed from parameters alone is not an activation
                wanted.setdefault(_furthest_back(value, layer, found), []).append(layer)
    points: dict[fx.Node, list[fx.Node]] = {}
    grids: dict[fx.Node, fx.Node | None] = {}
    for node in graph.nodes:
        grids[node] = _grid(node, found, grids)
        if node not in wanted:
            continue
        given = grids[node]
        # A value that stands on a grid already is not rounded again, unless that grid is too fine.
        if given is not None and min(map(fine.__getitem__, points[given])) <= min(
            map(fine.__getitem__, wanted[node])
        ):
            points[given] += wanted[node]
        else:
            points[node] = wanted[node]
            grids[node] = node
    return [Point(node, tuple(readers), found.sources[node]) for node, readers in points.items()]


def _furthest_back(node: fx.Node, layer: fx.Node, found: Reach) -> fx.Node:
    """Go back from what a layer reads to the first place where its quantizer can stand just as well."""
    while moves(node) or (layer in found.last and averages_all(node) and _leads_to_outputs(node, found)):
        (source,) = found.inputs[node]
        if len(found.users[source]) != 1 or _is_part_of_tuple(node, source):
            break
        node = source
    return node


def _leads_to_outputs(node: fx.Node, found: Reach) -> bool:
    """Return whether nothing but output layers reads a node's value, moved or as it is."""
    users = found.users[node]
    return all(user in found.last or (moves(user) and _leads_to_outputs(user, found)) for user in users)


def _is_part_of_tuple(node: fx.Node, source: fx.Node) -> bool:
    """Return whether a node takes a tensor out of several: what it takes it from is not a value."""
    return operation(node) == "getitem" and isinstance(node.args[1], int) and source.op != "placeholder"


def _grid(node: fx.Node, found: Reach, grids: Mapping[fx.Node, fx.Node | None]) -> fx.Node | None:
    """The point on whose grid all values of a node stand, as far as is known; None: there is none."""
    if moves(node) or _clamps_at_zero(node):
        return grids[found.inputs[node][0]]
    if is_concatenation(node):
        together = {grids[part] for part in node.all_input_nodes}
        return together.pop() if len(together) == 1 else None
    return None


def _clamps_at_zero(node: fx.Node) -> bool:
    """Return whether an activation function maps each value to itself or to zero, which every grid holds."""
    bounds = clamp_of(node)
    return bounds is not None and all(bound == 0 or isinf(bound) for bound in bounds)
