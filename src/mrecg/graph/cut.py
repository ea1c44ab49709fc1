"""From a model to its units: trace, cut, and bound the size of what has no cut inside."""

from dataclasses import dataclass

from torch import fx, nn

from mrecg.graph.lift import is_fixed_filter
from mrecg.graph.ops import attribute_of, is_matrix_product, is_normalisation, module_of, operation
from mrecg.graph.pack import pack
from mrecg.graph.partition import MAX_UNIT, Unit, common_path, partition
from mrecg.graph.trace import trace
from mrecg.graph.work import batch_shapes


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A model as a folded graph and its units.

    Attributes:
        graph: The folded graph.
        units: Its units in order.
        route: ``torch.fx`` or ``torch.export``.
        notes: What a user should know about the graph and the units.
        unquantized: What has parameters or multiplies matrices and stays in floating point: path and reason.
    """

    graph: fx.GraphModule
    units: tuple[Unit, ...]
    route: str
    notes: tuple[str, ...]
    unquantized: tuple[tuple[str, str], ...]


def cut(
    model: nn.Module,
    granularity: str = "block",
    *,
    input_shape: tuple[int, ...] | None = None,
    max_unit_layers: int = MAX_UNIT,
) -> Cut:
    """Trace a model, fold its BatchNorms and cut it into units.

    Args:
        model: The network; it is not changed.
        granularity: ``layer`` or ``block``; see `mrecg.graph.partition.partition`.
        input_shape: Channels, height and width of an image; None: outputs are not compared, torch.export is
            not tried, large units are not bounded, and the units' work is not counted.
        max_unit_layers: Weight layers in a unit, at most; larger ones are cut where several tensors leave
            together.

    Returns:
        The graph and its units.

    Raises:
        ConfigError: ``granularity`` is neither.
        GraphError: The model cannot be traced, or has no place to cut.
    """
    traced = trace(model, input_shape, single=True)
    graph, notes = traced.graph, list(traced.notes)
    units = partition(graph, granularity, max_unit_layers=max_unit_layers)
    large = [unit for unit in units if len(unit.layers) > max_unit_layers]
    on_meta = any(parameter.is_meta for parameter in graph.parameters())
    known = input_shape is not None and not on_meta
    about = []
    for unit in reversed(large):
        parts = pack(graph, unit, input_shape, limit=max_unit_layers) if input_shape and known else 1
        what = f"{unit.name} has {len(unit.layers)} weight layers and no place with a single tensor inside: "
        about.append(
            f"{what}cut into {parts} units where several tensors leave together (granularity.max_unit_layers="
            f"{max_unit_layers})"
            if parts > 1
            else f"{what}left whole{'' if known else ', for want of model.input_shape'}"
        )
    notes += reversed(about)
    shapes = batch_shapes(graph, input_shape) if input_shape and known else None
    units = partition(graph, granularity, max_unit_layers=max_unit_layers, shapes=shapes)
    return Cut(
        graph=graph,
        units=units,
        route=traced.route,
        notes=tuple(notes),
        unquantized=tuple(_unquantized(graph)),
    )


_INSIDE = (nn.MultiheadAttention, nn.modules.rnn.RNNBase, nn.Bilinear, nn.Embedding)


def _unquantized(graph: fx.GraphModule) -> list[tuple[str, str]]:
    """List what stays in floating point although it has parameters, with the reason."""
    found = []
    for node in graph.graph.nodes:
        module = module_of(node)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            found.append((str(node.target), "BatchNorm that follows no weight layer of its own"))
        elif is_normalisation(node):
            kind = type(module).__name__ if module else operation(node)
            path = str(node.target) if module else common_path([node])
            found.append((path, f"{kind}, which depends on its input"))
        elif isinstance(module, _INSIDE):
            found.append((str(node.target), f"weights inside {type(module).__name__}"))
        elif is_matrix_product(node):
            found.append((node.name, "product of two activations"))
        elif is_fixed_filter(graph, node):
            path = common_path([node]) or node.name
            found.append((path, "fixed filter: a buffer that resamples each channel"))
        elif node.op == "get_attr" and all(is_normalisation(user) for user in node.users):
            continue
        elif node.op == "get_attr" and isinstance(attribute_of(graph, str(node.target)), nn.Parameter):
            found.append((str(node.target), "parameter in an operation of its own"))
    return found
