"""Trace a model, by torch.fx or else by torch.export, and fold its BatchNorms and constants.

The graph that leaves here has no in-place operation (a unit's input is a cached tensor, which must not
change), no dropout, no weights outside of modules, no weight layer that is called twice, and no BatchNorm
directly after a convolution or linear layer. It gives the model's outputs, which is checked by running both.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import fx, nn

from mrecg.errors import GraphError, MrecgError
from mrecg.graph import hooks, intake
from mrecg.graph.ends import Ends, check_batches
from mrecg.graph.export_tracer import export_graph
from mrecg.graph.fold import fold
from mrecg.graph.functional_layers import fold_constants, is_fixed_filter, lift_layers
from mrecg.graph.fx_tracer import UntraceableError, symbolic_trace
from mrecg.graph.inplace import make_out_of_place
from mrecg.graph.normalise import drop_identities, localise_sizes, untie
from mrecg.graph.ops import is_functional_layer, is_weight_layer
from mrecg.graph.parametrised import make_plain
from mrecg.graph.precision import to_single
from mrecg.graph.reference import OtherOutputsError, Reference, check_inputs, compare
from mrecg.graph.reference import run as run_model
from mrecg.graph.same_padding import split_paddings


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
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    *,
    single: bool = False,
    fold_affine: bool = True,
    output: str | int | None = None,
) -> Traced:
    """Trace a copy of a model in evaluation mode and fold what only scales and shifts a layer's value.

    Args:
        model: The network; it is not changed. Its forward takes one tensor and returns one, or several in
            dicts, lists, tuples or dataclasses.
        input_shape: Channels, height and width of an image. Needed to compare the outputs with the model's,
            and for torch.export; None: neither is done.
        single: Whether the graph computes in float32 even if the model does not.
        fold_affine: Whether constants are folded as BatchNorms are. Version 0.1.0 folded BatchNorms only.
        output: Name or place of the only output that the graph has; None: all.

    Returns:
        The graph, with what a user should know about it.

    Raises:
        DataError: The model does not take images of this shape.
        GraphError: Neither torch.fx nor torch.export can follow the model, it has several inputs, not the
            output that was chosen, no weight layer, weights that depend on its input, or gives other outputs
            than its graph.
    """
    with _eagerly():
        model, notes = intake.unwrap(model)
        model = intake.take(model)
        check_inputs(model)
        watched = hooks.watch(model)
        again = bool(watched) or isinstance(model, fx.GraphModule)
        reference = None if input_shape is None else run_model(model, input_shape, again=again, output=output)
        notes += hooks.settle(watched, ran=reference is not None)
        notes += make_plain(model)
        with hooks.without_global_hooks() as missing:
            names = [*(hook.name for hook in watched), *missing]
            finish = partial(
                _finish, reference=reference, names=names, single=single, fold_affine=fold_affine
            )
            ends = Ends(type(model).__name__, output, None if reference is None else reference.structure)
            return _traced(model, input_shape, notes, finish, names=names, ends=ends)


@contextmanager
def _eagerly() -> Iterator[None]:
    """Keep torch.compile away from what is followed, and a caller's inference mode from what is copied."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and it takes seconds to import
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(torch._dynamo.config.patch(error_on_nested_fx_trace=False))
        yield


def _traced(
    model: nn.Module,
    input_shape: tuple[int, ...] | None,
    notes: Sequence[str],
    finish: Callable[[fx.GraphModule, str], list[str]],
    *,
    names: Sequence[str],
    ends: Ends,
) -> Traced:
    """Try torch.fx, and torch.export after it."""
    name = type(model).__name__
    try:
        attempt = copy.deepcopy(model)
        with ends.taken_apart(attempt):
            graph, more = symbolic_trace(attempt)
        traced = ends.module(attempt, graph)
        more += finish(traced, name)
        return Traced(graph=traced.eval(), route="torch.fx", notes=(*notes, *more))
    except (UntraceableError, OtherOutputsError) as error:
        by_hook = isinstance(error.__cause__, hooks.HookError)
        only = f"{error}; remove it, or make what it does a module of the model" if by_hook else str(error)
        if input_shape is None:
            raise GraphError(only) from error
        try:
            with ends.taken_apart(model):
                exported = export_graph(model, input_shape)
            traced = ends.module(exported, exported.graph)
            more = finish(traced, name)
        except GraphError as second:
            alone = by_hook or str(second) == str(error)
            also = f"; it has hooks: {', '.join(names)}" if names and not by_hook else ""
            raise GraphError(only if alone else f"{error}; {second}{also}") from error
        said = f"torch.export's graph is used: {error}"
        return Traced(graph=traced.eval(), route="torch.export", notes=(*notes, said, *more))


def _finish(
    traced: fx.GraphModule,
    name: str,
    *,
    reference: Reference | None,
    names: Sequence[str],
    single: bool,
    fold_affine: bool,
) -> list[str]:
    """Bring a graph into its final form, and compare it with the model; returns notes."""
    try:
        notes = _simplify(traced, reference, single=single, fold_affine=fold_affine)
    except MrecgError:
        raise
    except Exception as error:  # constants and sizes are computed by the model's own operations
        raise OtherOutputsError(f"{name}'s graph cannot be followed: {intake.one_line(error)}") from error
    _check_layers(traced, name)
    check_batches(traced, reference)
    if reference is not None:
        compare(traced, reference, names)
    return notes


def _simplify(
    traced: fx.GraphModule, reference: Reference | None, *, single: bool, fold_affine: bool
) -> list[str]:
    notes = to_single(traced) if single else []
    # First: to torch.fx an in-place call whose result is not read is dead code.
    make_out_of_place(traced)
    drop_identities(traced)
    split_paddings(traced)
    fold_constants(traced)
    lift_layers(traced)
    notes += untie(traced)
    if reference is not None:
        localise_sizes(traced, tuple(reference.images.shape[1:]))
    fold(traced, constants=fold_affine)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return notes


def _check_layers(traced: fx.GraphModule, name: str) -> None:
    for node in traced.graph.nodes:
        if is_functional_layer(node) and not is_fixed_filter(traced, node):
            raise GraphError(f"{name}: {node.format_node()} has weights that depend on the input")
    if not any(is_weight_layer(node) for node in traced.graph.nodes):
        raise GraphError(f"{name} has no convolution or linear layer to quantize")
