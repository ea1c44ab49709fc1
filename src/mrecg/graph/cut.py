"""From a model to its units: trace, cut, and bound the size of what has no cut inside."""

from dataclasses import dataclass

from torch import fx, nn

from mrecg.graph.outputs import end_units
from mrecg.graph.pack import pack
from mrecg.graph.partition import MAX_UNIT, Unit, partition
from mrecg.graph.trace import trace
from mrecg.graph.unit_cost import batch_shapes
from mrecg.graph.unquantized import Unquantized, said, unquantized


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A model as a folded graph and its units.

    Attributes:
        units: Its units in order.
        route: ``torch.fx`` or ``torch.export``.
        notes: What a user should know about the graph and the units.
        unquantized: What has parameters or multiplies matrices and stays in full precision.
    """

    graph: fx.GraphModule
    units: tuple[Unit, ...]
    route: str
    notes: tuple[str, ...]
    unquantized: tuple[Unquantized, ...]


def cut(
    model: nn.Module,
    granularity: str = "block",
    *,
    input_shape: tuple[int, ...] | None = None,
    max_unit_layers: int = MAX_UNIT,
    fold_affine: bool = True,
    output: str | int | None = None,
) -> Cut:
    """Trace a model, fold its BatchNorms and constants and cut it into units.

    Args:
        model: The network; it is not changed.
        granularity: ``layer`` or ``block``; see `mrecg.graph.partition.partition`.
        input_shape: Channels, height and width of an image; None: outputs are not compared, torch.export is
            not tried, large units are not bounded, and the units' work is not counted.
        max_unit_layers: Weight layers in a unit, at most; larger ones are cut where several tensors leave
            together.
        fold_affine: See `mrecg.graph.trace.trace`.
        output: See `mrecg.graph.trace.trace`.

    Returns:
        The graph and its units.

    Raises:
        ConfigError: ``granularity`` is neither.
        GraphError: The model cannot be traced, or has no place to cut.
    """
    traced = trace(model, input_shape, single=True, fold_affine=fold_affine, output=output)
    graph, notes = traced.graph, list(traced.notes)
    end_units(graph, input_shape)
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
            else f"{what}left whole{'' if known else ', because model.input_shape is not set'}"
        )
    notes += reversed(about)
    shapes = batch_shapes(graph, input_shape) if input_shape and known else None
    units = partition(graph, granularity, max_unit_layers=max_unit_layers, shapes=shapes)
    left = unquantized(graph)
    notes += said(left)
    return Cut(graph=graph, units=units, route=traced.route, notes=tuple(notes), unquantized=tuple(left))
