"""Trace a model, by torch.fx or else by torch.export, and fold its BatchNorms and constants.

The graph that leaves here has no in-place operation (a unit's input is a cached tensor, which must not
change), no dropout, no weights outside of modules, no weight layer that is called twice, and no BatchNorm
directly behind a convolution or linear layer. It gives the model's outputs, which is checked by running both.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from mrecg.errors import DataError, GraphError
from mrecg.graph.exported import export_graph
from mrecg.graph.fold import fold
from mrecg.graph.inplace import make_out_of_place
from mrecg.graph.lift import fold_constants, lift_layers
from mrecg.graph.normalise import drop_identities, localise_sizes, untie
from mrecg.graph.ops import is_functional_layer, is_weight_layer
from mrecg.graph.same_padding import split_paddings
from mrecg.graph.symbolic import UntraceableError, stopping_line, symbolic_trace

TOLERANCE = 1e-3
"""Relative error of the graph's outputs, at most; folding in float32 stays far below."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A folded graph, and how it came about.

    Attributes:
        graph: The graph as a module, parameters frozen, in evaluation mode; module paths are the model's own.
        route: ``torch.fx`` or ``torch.export``.
        notes: What a user should know: modules kept whole, layers untied, why torch.fx was not enough.
    """

    graph: fx.GraphModule
    route: str
    notes: tuple[str, ...]


def trace(
    model: nn.Module, input_shape: tuple[int, ...] | None = None, *, fold_affine: bool = True
) -> Traced:
    """Trace a copy of a model in evaluation mode and fold what only scales and shifts a layer's value.

    Args:
        model: The network; it is not changed. Its forward takes one tensor and returns one.
        input_shape: Channels, height and width of an image. Needed to compare the outputs with the model's,
            and for torch.export; None: neither is done.
        fold_affine: Whether constants are folded as BatchNorms are. Version 0.1.0 folded BatchNorms only.

    Returns:
        The graph, with what a user should know about it.

    Raises:
        DataError: The model does not take images of this shape.
        GraphError: Neither torch.fx nor torch.export can follow the model, it has several inputs or outputs,
            no weight layer, weights that depend on its input, or gives other outputs than its graph.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    reference = None if input_shape is None else _reference(model, input_shape)
    try:
        attempt = copy.deepcopy(model)
        graph, notes = symbolic_trace(attempt)
        return _finished(attempt, graph, reference, "torch.fx", notes, fold_affine=fold_affine)
    except (UntraceableError, _OtherOutputsError) as error:
        if input_shape is None:
            raise
        try:
            exported = export_graph(model, input_shape)
            note = f"torch.export's graph is used: {error}"
            return _finished(
                exported, exported.graph, reference, "torch.export", [note], fold_affine=fold_affine
            )
        except GraphError as second:
            raise GraphError(f"{error}; {second}") from error


class _OtherOutputsError(GraphError):
    """A graph computes something else than its model."""


def _finished(
    root: nn.Module,
    graph: fx.Graph,
    reference: "_Reference | None",
    route: str,
    notes: list[str],
    *,
    fold_affine: bool,
) -> Traced:
    """Bring a graph into its final form; the root's layers are changed."""
    name = type(root).__name__ if reference is None else reference.name
    traced = fx.GraphModule(root, _with_one_input(graph, name))
    # First of all: to torch.fx an in-place call whose result nobody reads is dead code.
    make_out_of_place(traced)
    drop_identities(traced)
    split_paddings(traced)
    fold_constants(traced)
    lift_layers(traced)
    notes = [*notes, *untie(traced)]
    if reference is not None:
        localise_sizes(traced, tuple(reference.images.shape[1:]))
    fold(traced, constants=fold_affine)
    traced.delete_all_unused_submodules()
    traced.recompile()
    _check_layers(traced, name)
    if reference is not None:
        _compare(traced, reference)
    return Traced(graph=traced.eval(), route=route, notes=tuple(notes))


def _with_one_input(graph: fx.Graph, name: str) -> fx.Graph:
    """Copy a graph that takes one tensor and returns one, or a tree that holds one."""
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise GraphError(f"{name} has {len(inputs)} inputs; only models with one input tensor are supported")
    copied: dict[fx.Node, fx.Node] = {}
    single = fx.Graph()
    result = single.graph_copy(graph, copied)
    if isinstance(result, list | tuple) and len(result) == 1:
        (result,) = result
    if not isinstance(result, fx.Node):
        raise GraphError(
            f"{name} returns {type(result).__name__}; only models that return one tensor are supported"
        )
    single.output(result)
    return single


def _check_layers(traced: fx.GraphModule, name: str) -> None:
    for node in traced.graph.nodes:
        if is_functional_layer(node):
            raise GraphError(f"{name}: {node.format_node()} has weights that depend on the input")
    if not any(is_weight_layer(node) for node in traced.graph.nodes):
        raise GraphError(f"{name} has no convolution or linear layer to quantize")


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """Random images and what the model makes of them, before anything is changed."""

    name: str
    images: Tensor
    outputs: Tensor


@torch.no_grad()
def _reference(model: nn.Module, input_shape: tuple[int, ...]) -> _Reference | None:
    parameter = next(model.parameters(), torch.zeros(1))
    if parameter.is_meta:
        return None
    # Three images, where torch.export sees two: a graph that is bound to their number does not pass.
    images = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    name = type(model).__name__
    try:
        outputs = model(images)
    except Exception as error:  # whatever the model's own code raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"the model does not take images of shape {tuple(input_shape)}: {reason}{stopping_line(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise GraphError(f"{name} returns {kind}; only models that return one tensor are supported")
    return _Reference(name=name, images=images, outputs=outputs)


@torch.no_grad()
def _compare(traced: fx.GraphModule, reference: _Reference) -> None:
    expected = reference.outputs
    try:
        found = traced(reference.images)
    except Exception as error:  # whatever the graph's operations raise
        reason = " ".join(str(error).split())
        raise _OtherOutputsError(f"{reference.name}'s graph cannot be run: {reason}") from error
    if expected.shape != found.shape:
        raise _OtherOutputsError(f"{reference.name}'s graph gives outputs of another shape than the model")
    difference = (found - expected).norm() / expected.norm().clamp(min=1e-12)
    if expected.isfinite().all() and not difference <= TOLERANCE:
        raise _OtherOutputsError(
            f"{reference.name}'s graph gives other outputs than the model (relative difference "
            f"{float(difference):.2g}): it overwrites a tensor through a view, draws at random, "
            "or depends on more than its input"
        )
