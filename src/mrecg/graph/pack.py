"""A cut where several tensors are alive: they are packed into one before it and unpacked after it.

A dense block concatenates all that came before, so nothing inside it is a cut, and it is one unit of up to 48
weight layers. Where a unit has more layers than allowed, the tensors that are alive at a border between its
modules are concatenated; the next unit takes them apart. The network computes the same.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import fx

from mrecg.graph.ops import is_weight_layer
from mrecg.graph.partition import Unit, common_path
from mrecg.graph.shapes import output_shapes
from mrecg.graph.structure import positions

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
        leave_together(traced, border.after, border.alive, shapes)
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


def leave_together(
    traced: fx.GraphModule,
    after: fx.Node,
    leaving: Sequence[fx.Node],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    going: bool = True,
) -> None:
    """Concatenate several values after a node, split them again, and let all that follows use the parts.

    Where their sizes differ, each is laid out flat and scaled so that its squared error counts as it would
    alone, as a mean over its positions: by the nearest power of two, which gives the same values back.

    Args:
        traced: The graph, changed in place; what it returns stays as it is.
        after: The node after which a unit ends.
        leaving: The values.
        shapes: Of all tensors, without the batch dimension.
        going: Whether something follows. Otherwise the tensor has a last dimension of 1, which no scores of
            classes have.
    """
    graph, behind = traced.graph, after.next
    order = {node: i for i, node in enumerate(graph.nodes)}
    later = {
        value: [user for user in value.users if order[user] > order[after] and user.op != "output"]
        for value in leaving
    }
    sizes = [shapes[value.name] for value in leaving]
    # Images of one size stay images; anything else is laid out flat.
    images = len({size[1:] for size in sizes}) == 1 and len(sizes[0]) > 1
    around = {path for path, _ in behind.meta.get("nn_module_stack", {}).values()}
    stack = {key: entry for key, entry in after.meta.get("nn_module_stack", {}).items() if entry[0] in around}

    def add(function: Callable[..., object], *args: object) -> fx.Node:
        with graph.inserting_before(behind):
            node = graph.call_function(function, args)  # type: ignore[arg-type]
        node.meta = {"nn_module_stack": dict(stack), PACKING: None}
        return node

    def laid_out(value: fx.Node, size: tuple[int, ...]) -> fx.Node:
        flat = add(torch.flatten, value, 1) if size else add(torch.unsqueeze, value, 1)
        return flat if _factor(size) == 1 else add(torch.mul, flat, _factor(size))

    def taken_out(part: fx.Node, size: tuple[int, ...]) -> fx.Node:
        if _factor(size) != 1:
            part = add(torch.mul, part, 1 / _factor(size))
        return add(torch.unflatten, part, 1, size) if size else add(torch.squeeze, part, 1)

    laid = [value if images else laid_out(value, size) for value, size in zip(leaving, sizes, strict=True)]
    packed = add(torch.cat, laid, 1)
    if not going:
        if not images:
            add(torch.unsqueeze, packed, -1)
        return
    parts = add(torch.split, packed, [size[0] if images else math.prod(size) for size in sizes], 1)
    for i, (value, size) in enumerate(zip(leaving, sizes, strict=True)):
        if not later[value]:
            continue
        part = add(operator.getitem, parts, i)
        part = part if images else taken_out(part, size)
        part.meta[PACKING] = value.meta.get(PACKING) or value.name
        for user in later[value]:
            user.replace_input_with(value, part)


def _factor(size: tuple[int, ...]) -> float:
    """What a value is multiplied by: the root of one over its positions, as a power of two."""
    return 2.0 ** -round(math.log2(positions(size)) / 2)
