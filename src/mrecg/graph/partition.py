"""Cut a traced graph into ordered units with one input and one output each.

A *cut* is a point where exactly one tensor is alive. Everything between two neighbouring cuts is an atom.
Atoms are gathered into *pieces*, each with at least one weight layer (the units of ``layer`` granularity),
and pieces into *blocks*, by the model's own hierarchy of modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import fx, nn

from mrecg.errors import GraphError, one_of
from mrecg.graph.chain import chained, ends_in, last_reads
from mrecg.graph.ops import (
    downsamples,
    is_elementwise,
    is_gate,
    is_join,
    is_weight_layer,
    module_of,
)
from mrecg.graph.unit_cost import activations, macs
from mrecg.graph.unit_facts import LayerFacts, UnitFacts

MAX_CHAIN = 3
"""Weight layers in a unit that has no join, at most: the length of an inverted bottleneck without its
shortcut."""
MAX_UNIT = 16
"""Weight layers in a unit, at most, where nothing else is configured."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of the graph between two cuts.

    Attributes:
        facts: Name, weight layers and residual form.
        input: Name of the node whose value enters.
        nodes: Names of the nodes inside, in order.
        output: Name of the node whose value leaves; the last of ``nodes``.
    """

    facts: UnitFacts
    input: str
    nodes: tuple[str, ...]
    output: str

    @property
    def name(self) -> str:
        """The unit's module path."""
        return self.facts.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Module paths of its weight layers, in order."""
        return tuple(layer.name for layer in self.facts.layers)


Piece = list[fx.Node]


def partition(
    traced: fx.GraphModule,
    granularity: str = "block",
    *,
    max_unit_layers: int = MAX_UNIT,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Unit, ...]:
    """Cut a graph into units.

    Args:
        traced: A folded graph from `trace`.
        granularity: ``layer``: the smallest pieces between two cuts that hold a weight layer; ``block``: the
            smallest modules of the model's hierarchy that lie between two cuts and hold a join or several
            weight layers, and chains of at most three layers for what belongs to no such module.
        max_unit_layers: A module with more weight layers is not a block. What has no cut inside still is one
            unit; `mrecg.graph.pack` makes a cut.
        shapes: Of all tensors, from `mrecg.graph.unit_cost.batch_shapes`; None: the facts count no work.

    Returns:
        The units in network order; every weight layer is in exactly one.

    Raises:
        ConfigError: ``granularity`` is neither.
        GraphError: The graph has no place to cut.
    """
    if granularity not in ("layer", "block"):
        raise one_of("granularity", granularity, ("layer", "block"))
    ends = ends_in(traced.graph)
    pieces = _pieces(_atoms(traced), ends)
    if not pieces:
        raise GraphError("the model has no weight layer between its input and its output")
    modules = _modules(pieces)
    spans = [(i, i + 1) for i in range(len(pieces))]
    if granularity == "block":
        ending = {i for i, piece in enumerate(pieces) if not ends.isdisjoint(piece)}
        spans = _block_spans(pieces, modules, max_unit_layers, ending)
    units, source = [], next(node for node in traced.graph.nodes if node.op == "placeholder")
    for begin, end in spans:
        nodes = [node for piece in pieces[begin:end] for node in piece]
        units.append(_unit(nodes, source, _name(pieces, modules, begin, end), shapes or {}))
        source = nodes[-1]
    stages = _stages(traced, units)
    return tuple(
        replace(unit, facts=replace(unit.facts, stage=stage))
        for unit, stage in zip(units, stages, strict=True)
    )


def _atoms(traced: fx.GraphModule) -> list[Piece]:
    """Split the nodes at every cut."""
    nodes = chained(traced.graph)
    ends = ends_in(traced.graph)
    last_use = last_reads(nodes)
    atoms: list[Piece] = []
    current: Piece = []
    alive: set[fx.Node] = {nodes[0]}
    for i, node in enumerate(nodes[1:], start=1):
        current.append(node)
        alive = {value for value in alive | {node} if last_use[value] > i}
        if alive == {node} or node is nodes[-1]:
            atoms.append(current)
            current = []
    if len(ends) == 1 and nodes[-1] not in ends:
        raise GraphError(
            f"the model's last operation {nodes[-1].format_node()} does not gather all that came before"
        )
    return atoms


def _pieces(atoms: list[Piece], ends: set[fx.Node]) -> list[Piece]:
    """Gather atoms so that each piece holds a weight layer.

    Element-wise operations go with the layer before them (an activation function belongs to its layer), all
    other weightless atoms with the one that consumes them. Nothing is added to what ends in an output.
    """
    pieces: list[Piece] = []
    pending: Piece = []
    for atom in atoms:
        if any(is_weight_layer(node) for node in atom):
            pieces.append(pending + atom)
            pending = []
        elif pieces and not pending and ends.isdisjoint(pieces[-1]) and all(is_elementwise(n) for n in atom):
            pieces[-1] = pieces[-1] + atom
        else:
            pending = pending + atom
    if pieces:
        pieces[-1] = pieces[-1] + pending
    return pieces


def _core(piece: Piece) -> list[fx.Node]:
    """The nodes that decide a piece's module; weightless ones may have moved in from a neighbour."""
    return [node for node in piece if is_weight_layer(node) or is_join(node)]


def _paths(node: fx.Node) -> list[str]:
    """Paths of all modules that a node was traced in, outermost first, the root left out."""
    return [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]


def _modules(pieces: list[Piece]) -> dict[str, tuple[int, int]]:
    """Find the modules that lie between two cuts, with the span of pieces that each covers."""
    touched: dict[str, set[int]] = {}
    partial: set[str] = set()
    for i, piece in enumerate(pieces):
        inside = [set(_paths(node)) for node in _core(piece)]
        for path in set().union(*inside):
            touched.setdefault(path, set()).add(i)
            if not all(path in paths for paths in inside):
                partial.add(path)
    spans = {path: (min(found), max(found) + 1) for path, found in touched.items() if path not in partial}
    return {path: span for path, span in spans.items() if span[1] - span[0] == len(touched[path])}


def _weights(pieces: list[Piece]) -> int:
    return sum(is_weight_layer(node) for piece in pieces for node in piece)


def _has_join(pieces: list[Piece]) -> bool:
    return any(is_join(node) for piece in pieces for node in piece)


def _block_spans(
    pieces: list[Piece], modules: dict[str, tuple[int, int]], limit: int, ending: set[int]
) -> list[tuple[int, int]]:
    """Choose the smallest qualifying modules; chain up what is left. An output ends its span."""
    chosen: dict[int, tuple[int, int]] = {}
    for begin, end in sorted(set(modules.values()), key=lambda span: (span[1] - span[0], span)):
        inside = pieces[begin:end]
        # A squeeze-and-excitation alone is not a block, the bottleneck around it is.
        gate = end - begin == 1 and not any(is_join(node) and not is_gate(node) for node in inside[0])
        joined = _has_join(inside) and (_weights(inside) <= limit or end - begin == 1)
        is_block = joined or 2 <= _weights(inside) <= MAX_CHAIN
        through = not ending.isdisjoint(range(begin, end - 1))
        if is_block and not gate and not through and not any(i in chosen for i in range(begin, end)):
            chosen.update(dict.fromkeys(range(begin, end), (begin, end)))
    spans: list[tuple[int, int]] = []
    chain_open = False
    for i, piece in enumerate(pieces):
        if i in chosen:
            if chosen[i][0] == i:
                spans.append(chosen[i])
            chain_open = False
        elif _has_join([piece]):
            spans.append((i, i + 1))
            chain_open = False
        elif chain_open and _weights(pieces[spans[-1][0] : i + 1]) <= MAX_CHAIN:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i, i + 1))
            chain_open = True
        chain_open = chain_open and i not in ending
    return spans


def _name(pieces: list[Piece], modules: dict[str, tuple[int, int]], begin: int, end: int) -> str:
    """Name a span by the outermost module that is exactly it, else by the first and last module inside.

    What both have in common is said once: ``features.0-7``.
    """
    exact = _outermost(modules, begin, end)
    if exact:
        return exact
    layers = [node for piece in pieces[begin:end] for node in piece if is_weight_layer(node)]
    if len(layers) == 1:
        return str(layers[0].target)
    common = common_path(layers)
    first = _outermost(modules, begin, begin + 1) or _below(common, layers[0])
    last = _outermost(modules, end - 1, end) or _below(common, layers[-1])
    shared = 0
    for a, b in zip(first.split("."), last.split(".")[:-1], strict=False):
        if a != b:
            break
        shared += 1
    return f"{first}-{'.'.join(last.split('.')[shared:])}"


def common_path(nodes: Piece) -> str:
    """Path of the innermost module that several nodes were traced in; empty for the whole model."""
    stacks = [_paths(node) for node in nodes]
    shared = [path for path in stacks[0] if all(path in stack for stack in stacks)]
    return shared[-1] if shared else ""


def _below(common: str, node: fx.Node) -> str:
    """The child of a module that a node was traced in."""
    paths = [path for path in _paths(node) if len(path) > len(common) and path.startswith(common)]
    return min(paths, key=len, default=str(node.target))


def _stages(traced: fx.GraphModule, units: list[Unit]) -> list[int]:
    """Number the stages: one begins where a unit makes the image smaller, or where the parent module changes.

    The first and the last unit (stem and head) are stages of their own. A unit that does nothing but make the
    image smaller belongs to the stage after it.
    """
    nodes = {node.name: node for node in traced.graph.nodes}
    shrinks = [any(downsamples(nodes[name]) for name in unit.nodes) for unit in units]
    parents = [unit.name.rpartition(".")[0] for unit in units]
    stages = [0]
    for i in range(1, len(units)):
        prefix_only = i > 1 and shrinks[i - 1] and stages[i - 1] != stages[i - 2]
        moved = parents[i] != parents[i - 1] and not (prefix_only and not shrinks[i])
        new = i == 1 or i == len(units) - 1 or shrinks[i] or moved
        stages.append(stages[-1] + new)
    return stages


def _outermost(modules: dict[str, tuple[int, int]], begin: int, end: int) -> str | None:
    exact = [path for path, span in modules.items() if span == (begin, end)]
    return min(exact, key=lambda path: (path.count("."), len(path)), default=None)


def _unit(nodes: Piece, source: fx.Node, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Unit:
    layers = tuple(
        replace(_layer_facts(node), macs=macs(node, shapes)) for node in nodes if is_weight_layer(node)
    )
    kept = activations(nodes, source, shapes)
    facts = UnitFacts(name=name, layers=layers, residual=_has_join([nodes]), activations=kept)
    return Unit(
        facts=facts, input=source.name, nodes=tuple(node.name for node in nodes), output=nodes[-1].name
    )


def _layer_facts(node: fx.Node) -> LayerFacts:
    layer = module_of(node)
    assert layer is not None
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    if isinstance(layer, nn.Linear):
        return LayerFacts(name=str(node.target), weights=weight.numel(), stride=1, kernel=(), kind="linear")
    assert isinstance(layer, nn.modules.conv._ConvNd)
    depthwise = layer.groups > 1 and layer.groups == layer.in_channels
    kind = "depthwise" if depthwise else "grouped" if layer.groups > 1 else "dense"
    stride, kernel = max(layer.stride), tuple(layer.kernel_size)
    return LayerFacts(name=str(node.target), weights=weight.numel(), stride=stride, kernel=kernel, kind=kind)
