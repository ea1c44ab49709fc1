"""Trace a model with torch.fx and fold its BatchNorms.

The graph that leaves here has no in-place operation (a unit's input is a cached tensor, which must not
change), no dropout and no BatchNorm directly behind a convolution or linear layer.
"""

import copy
import inspect
import operator
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from mrecg.errors import GraphError
from mrecg.graph.ops import is_functional_weight, is_weight_layer, module_of

_OUT_OF_PLACE: dict[object, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "stochastic_depth"}


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace a copy of a model in evaluation mode and fold BatchNorm into the layer before it.

    Args:
        model: The network; it is not changed. Its forward takes one tensor and returns one.

    Returns:
        The folded graph, parameters frozen, in evaluation mode. Module paths are the model's own.

    Raises:
        GraphError: The model's control flow depends on its input, it has several inputs, no weight layer,
            weights in functional form, or a weight layer that is called twice.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:  # fx lets through whatever the model's own code raises
        raise GraphError(
            f"{type(model).__name__} cannot be traced: {error}{_stopping_line(error)}"
        ) from error
    traced = fx.GraphModule(model, graph)
    # First of all: to torch.fx an in-place call whose result nobody reads is dead code.
    _make_out_of_place(traced)
    _drop_identities(traced)
    traced.graph.eliminate_dead_code()
    fold_batch_norms(traced)
    traced.delete_all_unused_submodules()
    traced.recompile()
    _check(traced, type(model).__name__)
    return traced


def _stopping_line(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/torch/" not in frame.filename]
    last = frames[-1] if frames else None
    return f" (at {last.filename}:{last.lineno}: {last.line})" if last else ""


def _make_out_of_place(traced: fx.GraphModule) -> None:
    """Replace in-place operations; who reads an overwritten tensor later, reads the result instead."""
    position = {node: i for i, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if not _replaced(node):
            continue
        source = node.all_input_nodes[0]
        for user in list(source.users):
            if position[user] > position[node]:
                user.replace_input_with(source, node)
    for module in traced.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]


def _replaced(node: fx.Node) -> bool:
    """Put the out-of-place operation in the node's place; tell whether it was in-place before."""
    if node.op == "call_module":
        return getattr(module_of(node), "inplace", False) is True
    before = (node.target, node.args, node.kwargs)
    if node.op == "call_method" and _overwrites(str(node.target)):
        node.target = str(node.target)[:-1] if hasattr(torch.Tensor, str(node.target)[:-1]) else node.target
    elif node.op == "call_function" and callable(node.target):
        name = getattr(node.target, "__name__", "")
        for space in (torch, F):
            if _overwrites(name) and getattr(space, name, None) is node.target:
                node.target = getattr(space, name[:-1])
        node.target = _OUT_OF_PLACE.get(node.target, node.target)
        place = _parameters(node.target).index("inplace") if "inplace" in _parameters(node.target) else -1
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif 0 <= place < len(node.args) and node.args[place]:
            node.args = (*node.args[:place], False, *node.args[place + 1 :])
    return before != (node.target, node.args, node.kwargs)


def _overwrites(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _parameters(function: object) -> list[str]:
    try:
        return list(inspect.signature(function).parameters) if callable(function) else []
    except ValueError:  # a builtin without a signature
        return []


def _drop_identities(traced: fx.GraphModule) -> None:
    """Take out what only matters in training, so that no dropout stands between a layer and what follows."""
    for node in list(traced.graph.nodes):
        if isinstance(module_of(node), nn.Identity | nn.modules.dropout._DropoutNd) or _is_idle_dropout(node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)


def _is_idle_dropout(node: fx.Node) -> bool:
    if node.op != "call_function" or getattr(node.target, "__name__", "") not in _DROPOUTS:
        return False
    given = dict(zip(_parameters(node.target), node.args, strict=False)) | node.kwargs
    return given.get("training") is False


def fold_batch_norms(traced: fx.GraphModule) -> list[str]:
    """Fold every BatchNorm that directly follows a weight layer used only by it.

    Args:
        traced: The graph, changed in place.

    Returns:
        Paths of the BatchNorms that stay, because something else stands before them.
    """
    calls: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    left = []
    for node in list(traced.graph.nodes):
        norm = module_of(node)
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        source = node.all_input_nodes[0]
        once = calls[str(node.target)] == 1 and calls.get(str(source.target), 0) == 1
        if not (is_weight_layer(source) and len(source.users) == 1 and once and _folds(source, norm)):
            left.append(str(node.target))
            continue
        _fold(module_of(source), norm)
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
    return left


def _folds(source: fx.Node, norm: nn.modules.batchnorm._BatchNorm) -> bool:
    layer = module_of(source)
    same_width = not isinstance(layer, nn.Linear) or layer.out_features == norm.num_features
    return same_width and norm.running_mean is not None and norm.running_var is not None


def _fold(layer: nn.Module | None, norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Give a layer new parameters that include the BatchNorm behind it; computed in float64."""
    assert isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    assert norm.running_mean is not None and norm.running_var is not None
    mean, factor = norm.running_mean.double(), torch.rsqrt(norm.running_var.double() + norm.eps)
    factor = factor if norm.weight is None else factor * norm.weight.double()
    shift = 0.0 if norm.bias is None else norm.bias.double()
    weight = layer.weight.double()
    rows = factor.reshape(-1, 1)
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        # Its weight is (inputs, outputs / groups, ...): each group of inputs has output channels of its own.
        rows = factor.reshape(layer.groups, -1).repeat_interleave(layer.in_channels // layer.groups, dim=0)
    rows = rows.reshape(*rows.shape, *(1 for _ in range(weight.dim() - 2)))
    bias = (0.0 if layer.bias is None else layer.bias.double()) - mean
    layer.bias = nn.Parameter((bias * factor + shift).to(layer.weight.dtype), requires_grad=False)
    layer.weight = nn.Parameter((weight * rows).to(layer.weight.dtype), requires_grad=False)


def _check(traced: fx.GraphModule, name: str) -> None:
    nodes = list(traced.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise GraphError(f"{name} has {len(inputs)} inputs; only models with one input tensor are supported")
    outputs = nodes[-1].args[0]
    if not isinstance(outputs, fx.Node):
        raise GraphError(
            f"{name} returns {type(outputs).__name__}; only models that return one tensor are supported"
        )
    for node in nodes:
        if is_functional_weight(node):
            raise GraphError(
                f"{name}: {node.format_node()} multiplies by weights outside of a module; use an nn module"
            )
    layers = [str(node.target) for node in nodes if is_weight_layer(node)]
    if not layers:
        raise GraphError(f"{name} has no convolution or linear layer to quantize")
    twice = sorted({layer for layer in layers if layers.count(layer) > 1})
    if twice:
        raise GraphError(
            f"{name}: {', '.join(twice)} is called more than once; shared weight layers are not supported"
        )


@torch.no_grad()
def output_shapes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Run one zero image through the graph and note the shape of every tensor.

    Args:
        traced: The graph.
        input_shape: Channels, height and width of an image.

    Returns:
        Shape without the batch dimension, by node name.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor):
                shapes[n.name] = tuple(value.shape[1:])
            return value

    Recorder(traced).run(torch.zeros(1, *input_shape))
    return shapes
