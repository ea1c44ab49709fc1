"""Networks with several outputs: each output ends a unit, and the units stay a chain.

A branch that leads to an output alone is computed as soon as what it reads is there. Where it ends, what goes
on and the outputs that are finished leave together, as one tensor (`mrecg.graph.pack`), so their losses add
up; the next unit takes what goes on out of it. The network itself returns the outputs as they are.
"""

from torch import fx

from mrecg.errors import GraphError
from mrecg.graph.chain import ASIDE, END, chained, last_reads, outputs_in, structure_in
from mrecg.graph.ops import is_weight_layer
from mrecg.graph.pack import leave_together
from mrecg.graph.shapes import output_shapes, values_of
from mrecg.graph.structure import listed


def end_units(traced: fx.GraphModule, input_shape: tuple[int, ...] | None) -> None:
    """Bring a graph with several outputs into a form whose units are a chain.

    Args:
        traced: A folded graph from `mrecg.graph.trace.trace`, changed in place.
        input_shape: Channels, height and width of an image.

    Raises:
        GraphError: A unit has several outputs, whose sizes are not known without the shape of an image.
    """
    outputs = outputs_in(traced.graph)
    if len(outputs) == 1:
        return
    shaped = input_shape is not None and not any(p.is_meta for p in traced.parameters())
    if shaped and input_shape is not None:
        outputs = _set_indices_aside(traced, outputs, input_shape)
    for output in outputs:
        output.meta[END] = True
    _branches_first(traced.graph, outputs)
    borders = _borders(traced.graph, set(outputs))
    together = [border for border in borders if len(border[1]) > 1]
    if together and not shaped:
        structure = structure_in(traced)
        names = "" if structure is None else f" ({listed(structure.names)})"
        raise GraphError(
            f"the model has several outputs{names}, and a unit that ends in some of them needs their sizes: "
            "set model.input_shape to [channels, height, width], or choose one by model.output=NAME"
        )
    if not together or input_shape is None:
        return
    shapes = output_shapes(traced, input_shape)
    # From the back, so that a tensor's later uses are rewired before its earlier ones.
    for after, alive, going in reversed(together):
        leave_together(traced, after, alive, shapes, going=going)
    traced.recompile()


def _set_indices_aside(
    traced: fx.GraphModule, outputs: tuple[fx.Node, ...], input_shape: tuple[int, ...]
) -> tuple[fx.Node, ...]:
    """Leave out of the units what only leads to class indices and masks, from which nothing is learned.

    Returns:
        Where branches end instead: outputs that are real numbers, and scores that indices are taken of.
    """
    values = values_of(traced, (2, *input_shape))
    real = [output for output in outputs if values[output].is_floating_point()]
    needed = set[fx.Node]().union(*map(_ancestors, real))
    leads: set[fx.Node] = set()
    ends = dict.fromkeys(real)
    for node in reversed(traced.graph.nodes):
        if is_weight_layer(node) or not leads.isdisjoint(node.users):
            leads.add(node)
        elif node.op not in ("placeholder", "output", "get_attr") and node not in needed:
            node.meta[ASIDE] = True
    for node in traced.graph.nodes:
        if any(ASIDE in user.meta for user in node.users) and node in leads and node not in needed:
            ends[node] = None
    return tuple(ends)


def _branches_first(graph: fx.Graph, outputs: tuple[fx.Node, ...]) -> None:
    """Order the nodes so that an output that needs fewer operations is made before one that needs more."""
    needed = {output: _ancestors(output) for output in outputs}
    position = {node: i for i, node in enumerate(graph.nodes)}
    first = next(node for node in graph.nodes if node.op == "placeholder")
    ordered: dict[fx.Node, None] = {first: None}
    for output in sorted(outputs, key=lambda output: (len(needed[output]), position[output])):
        ordered |= dict.fromkeys(sorted(needed[output], key=position.__getitem__))
    last = first
    for node in list(ordered)[1:]:
        last.append(node)
        last = node


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, left = {node}, [node]
    while left:
        sources = [source for source in left.pop().all_input_nodes if source not in found]
        found.update(sources)
        left += sources
    return found


Border = tuple[fx.Node, tuple[fx.Node, ...], bool]
"""A place where a unit may end: after a node, with all that leaves, and whether any of it is read later."""


def _borders(graph: fx.Graph, outputs: set[fx.Node]) -> list[Border]:
    """Find the places where one tensor goes on, with the outputs that were made since the last of them."""
    nodes = chained(graph)
    last = last_reads(nodes)
    alive: set[fx.Node] = {nodes[0]}
    weights = max(i for i, node in enumerate(nodes) if is_weight_layer(node))
    made: list[fx.Node] = []
    found: list[Border] = []
    for i, node in enumerate(nodes[1:], start=1):
        alive = {value for value in alive | {node} if last[value] > i}
        made += [node] if node in outputs else []
        if len(alive) > 1 or (alive and alive != {node} and not made):
            continue
        if alive and i >= weights:  # what has no weights belongs to the unit before
            continue
        leaving = dict.fromkeys([*alive, *made])
        if leaving:
            found.append((node, tuple(leaving), bool(alive)))
        made = []
    return found
