"""Trace a model with torch.fx and fold its BatchNorms.

The graph that leaves here has no in-place operation (a unit's input is a cached tensor, which must not
change) and no BatchNorm directly behind a convolution or linear layer.
"""

import copy
import operator
import traceback

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mrecg.errors import GraphError
from mrecg.graph.ops import is_functional_weight, is_weight_layer, module_of

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OUT_OF_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}
_OUT_OF_PLACE_METHODS = {"add_": "add", "mul_": "mul", "relu_": "relu"}


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
    traced.graph.eliminate_dead_code()
    _make_out_of_place(traced)
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
    for module in traced.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    for node in traced.graph.nodes:
        if node.op == "call_function":
            node.target = _OUT_OF_PLACE.get(node.target, node.target)
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method":
            node.target = _OUT_OF_PLACE_METHODS.get(node.target, node.target)


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
        if not isinstance(norm, _BATCH_NORMS):
            continue
        source = node.args[0]
        once = calls[str(node.target)] == 1 and calls.get(str(getattr(source, "target", "")), 0) == 1
        if not (isinstance(source, fx.Node) and is_weight_layer(source) and len(source.users) == 1 and once):
            left.append(str(node.target))
            continue
        layer = module_of(source)
        if isinstance(layer, nn.Linear):
            folded: nn.Module = fuse_linear_bn_eval(layer, norm)
        else:
            transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
            folded = fuse_conv_bn_eval(layer, norm, transposed)  # type: ignore[type-var]
        traced.set_submodule(str(source.target), folded.requires_grad_(False))
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
    return left


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
