"""A cut where several tensors are alive: they are packed into one before it and unpacked after it.

A dense block concatenates all that came before, so nothing inside it is a cut, and it is one unit of up to 48
weight layers. Where a unit has more layers than allowed, the tensors that are alive at a border between its
modules are concatenated; the next unit takes them apart. The network computes the same.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import fx

from mrecg.graph.ops import is_weight_layer
from mrecg.graph.partition import Unit, common_path
from mrecg.graph.shapes import output_shapes

PACKING = "packing"
"""Key in the ``meta`` of the nodes that are added here: the name of the node whose value one gives again, or
None."""


@dataclass(frozen=True)
class _Border:
    """A place to cut: after a node, with all that is alive there."""

    after: fx.Node
    alive: tuple[fx.Node, ...]
    layers: int
    between_modules: bool


def pack(traced: fx.GraphModule, unit: Unit, input_shape: tuple[int, ...], *, limit: int) -> int:
    """Make cuts inside a unit, so that each part has at most a number of weight layers.

    Args:
        traced: The graph, changed in place.
        input_shape: Channels, height and width of an image.
        limit: Weight layers in a part, at most.

    Returns:
        How many parts there are now; 1 where nothing could be done.
    """
    shapes = output_shapes(traced, input_shape)
    borders = _borders(traced, unit, shapes)
    chosen: list[_Border] = []
    begin = 0
    while (rest := len(unit.layers) - begin) > limit:
        ideal = begin + rest / math.ceil(rest / limit)
        fitting = [border for border in borders if begin < border.layers <= begin + limit]
        if not fitting:
            break
        chosen.append(min(fitting, key=partial(_badness, ideal=ideal)))
        begin = chosen[-1].layers
    # From the back, so that a tensor's later uses are rewired before its earlier ones.
    for border in reversed(chosen):
        _cut(traced, border, shapes)
    traced.recompile()
    return len(chosen) + 1


def _badness(border: _Border, *, ideal: float) -> tuple[bool, float, int]:
    return not border.between_modules, abs(border.layers - ideal), len(border.alive)


def _borders(traced: fx.GraphModule, unit: Unit, shapes: dict[str, tuple[int, ...]]) -> list[_Border]:
    names = set(unit.nodes)
    nodes = [node for node in traced.graph.nodes if node.name in names]
    source = next(node for node in traced.graph.nodes if node.name == unit.input)
    position = {node: i for i, node in enumerate(nodes)}
    last = {
        node: max((position.get(user, -1) for user in node.users), default=-1) for node in [source, *nodes]
    }
    whole = common_path([node for node in nodes if is_weight_layer(node)])
    found: list[_Border] = []
    layers = 0
    for i, node in enumerate(nodes[:-1]):
        layers += is_weight_layer(node)
        alive = tuple(value for value in [source, *nodes[: i + 1]] if last[value] > i)
        if layers and all(value.name in shapes for value in alive):
            between = common_path([node, nodes[i + 1]]) == whole
            found.append(_Border(node, alive, layers, between))
    return [border for border in found if border.layers < len(unit.layers)]


def _cut(traced: fx.GraphModule, border: _Border, shapes: dict[str, tuple[int, ...]]) -> None:
    """Concatenate what is alive after a node, split it again, and let all that follows use the parts."""
    graph, behind = traced.graph, border.after.next
    order = {node: i for i, node in enumerate(graph.nodes)}
    later = {value: [u for u in value.users if order[u] > order[border.after]] for value in border.alive}
    sizes = [shapes[value.name] for value in border.alive]
    # Images of one size stay images; anything else is laid out flat.
    images = len({size[1:] for size in sizes}) == 1 and len(sizes[0]) > 1
    around = {path for path, _ in behind.meta.get("nn_module_stack", {}).values()}
    stack = {
        key: entry
        for key, entry in border.after.meta.get("nn_module_stack", {}).items()
        if entry[0] in around
    }

    def add(function: Callable[..., object], *args: object) -> fx.Node:
        with graph.inserting_before(behind):
            node = graph.call_function(function, args)  # type: ignore[arg-type]
        node.meta = {"nn_module_stack": dict(stack), PACKING: None}
        return node

    flat = [value if images else add(torch.flatten, value, 1) for value in border.alive]
    packed = add(torch.cat, flat, 1)
    widths = [size[0] if images else math.prod(size) for size in sizes]
    parts = add(torch.split, packed, widths, 1)
    for i, (value, size) in enumerate(zip(border.alive, sizes, strict=True)):
        part = add(operator.getitem, parts, i)
        part = part if images else add(torch.unflatten, part, 1, size)
        part.meta[PACKING] = value.name
        for user in later[value]:
            user.replace_input_with(value, part)
