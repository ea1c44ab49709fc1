"""Turn weights in functional form into modules: ``F.conv2d(x, self.weight)`` becomes an nn.Conv2d.

What is computed from parameters alone (a standardised weight, a sum of kernels) is computed once, so a layer
that reparametrises its weight is an ordinary layer afterwards. A fixed filter stays a function.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from mrecg.graph.ops import CONVOLUTIONS, attribute_of, is_functional_layer, operation

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_NORMS = {
    False: ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    True: ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
}
"""Parameters of F.batch_norm, and (True) of aten.batch_norm."""
_NATIVE_NORM = ("input", "weight", "bias", "running_mean", "running_var", "momentum", "eps")
_RANDOM = ("dropout", "rand", "bernoulli")
CONSTANTS = "constants"
"""Attribute for computed weights, until a layer takes them."""


@torch.no_grad()
def fold_constants(traced: fx.GraphModule) -> None:
    """Compute what depends on parameters and buffers alone.

    Args:
        traced: The graph, changed in place.
    """
    values: dict[fx.Node, Any] = {}
    learned: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        if node.op == "get_attr":
            values[node] = attribute_of(traced, str(node.target))
            if isinstance(values[node], nn.Parameter):
                learned.add(node)
            continue
        sources = node.all_input_nodes
        known = sources and all(source in values for source in sources)
        if node.op not in ("call_function", "call_method") or not known or _is_random(node):
            continue
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
        if node.op == "call_method":
            values[node] = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        else:
            assert callable(node.target)
            values[node] = node.target(*args, **kwargs)
        from_learned = not learned.isdisjoint(sources)
        made = node
        if isinstance(values[node], Tensor):
            made = _keep(traced, node, values[node].detach(), learned=from_learned)
            values[made] = values[node]
        if from_learned:
            learned.add(made)
    traced.graph.eliminate_dead_code()


def _keep(traced: fx.GraphModule, node: fx.Node, value: Tensor, *, learned: bool) -> fx.Node:
    """Keep a value as a parameter if it comes from one, else as a buffer."""
    if CONSTANTS not in dict(traced.named_children()):
        traced.add_module(CONSTANTS, nn.Module())
    held = traced.get_submodule(CONSTANTS)
    name = f"{node.name}_value" if hasattr(held, node.name) else node.name  # a module has a method "to"
    if learned:
        held.register_parameter(name, nn.Parameter(value, requires_grad=False))
    else:
        held.register_buffer(name, value)
    with traced.graph.inserting_before(node):
        constant = traced.graph.get_attr(f"{CONSTANTS}.{name}")
    constant.meta = dict(node.meta)
    node.replace_all_uses_with(constant)
    return constant


def _is_random(node: fx.Node) -> bool:
    return any(word in operation(node) for word in _RANDOM)


def lift_layers(traced: fx.GraphModule) -> None:
    """Replace functional convolutions, linear layers and BatchNorms with constant weights by modules.

    Args:
        traced: The graph, changed in place; what has weights that depend on the input stays.
    """
    used = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    for node in list(traced.graph.nodes):
        layer = _layer(traced, node)
        if layer is None:
            continue
        path = _free_path(traced, node, used)
        used.add(path)
        _place(traced, path, layer.eval().requires_grad_(False))
        with traced.graph.inserting_before(node):
            called = traced.graph.call_module(path, (node.all_input_nodes[0],))
        called.meta = dict(node.meta)
        for user in list(node.users):
            # The functional form of torch.export returns (output, mean, variance).
            first = user.op == "call_function" and operation(user) == "getitem" and user.args[1] == 0
            if operation(node) == "_native_batch_norm_legit_no_training" and first:
                user.replace_all_uses_with(called)
                traced.graph.erase_node(user)
        node.replace_all_uses_with(called)
        constants = [source for source in node.all_input_nodes if source.op == "get_attr"]
        traced.graph.erase_node(node)
        for constant in constants:  # what it names is gone where the layer has replaced its module
            if not constant.users:
                traced.graph.erase_node(constant)
    traced.graph.eliminate_dead_code()


def _layer(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Build the module that does what a node does; None where its weights are not constants."""
    name = operation(node)
    if is_functional_layer(node):
        given = _bound(traced, node, _TRANSPOSED if "transpose" in name else _CONV)
        constant = isinstance(given.get("weight"), Tensor) and not isinstance(given.get("bias"), fx.Node)
        if not constant or is_fixed_filter(traced, node):
            return None
        return _linear(given) if name == "linear" else _convolution(CONVOLUTIONS[name], given)
    if name == "_native_batch_norm_legit_no_training":
        return _norm(_bound(traced, node, _NATIVE_NORM))
    if name == "batch_norm":
        given = _bound(traced, node, _NORMS[isinstance(node.target, torch._ops.OpOverload)])
        return None if given.get("training") else _norm(given)
    if name in ("matmul", "mm") and len(node.args) == 2:
        given = _bound(traced, node, ("input", "weight"))
        weight = given["weight"]
        return _linear({"weight": weight.t()}) if isinstance(weight, Tensor) and weight.dim() == 2 else None
    return None


def is_fixed_filter(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node is a convolution that resamples: a depthwise one whose kernel is a buffer.

    A blur or an interpolation learns nothing and mixes no channels: like a pooling it stays in floating
    point. A buffer that mixes channels is a layer that its author has frozen.
    """
    if not is_functional_layer(node) or operation(node) == "linear":
        return False
    transposed = "transpose" in operation(node)
    given = _bound(traced, node, _TRANSPOSED if transposed else _CONV)
    weight, bias = given.get("weight"), given.get("bias")
    if not isinstance(weight, Tensor) or isinstance(weight, nn.Parameter):
        return False
    if isinstance(bias, nn.Parameter | fx.Node):
        return False
    return weight.shape[0] == given.get("groups", 1) if transposed else weight.shape[1] == 1


def _bound(traced: fx.GraphModule, node: fx.Node, order: tuple[str, ...]) -> dict[str, Any]:
    """A node's arguments by name, constants as tensors."""
    given: dict[str, Any] = dict(zip(order, node.args, strict=False)) | dict(node.kwargs)
    return {
        key: attribute_of(traced, str(value.target))
        if isinstance(value, fx.Node) and value.op == "get_attr"
        else value
        for key, value in given.items()
    }


def _parameter(value: Tensor | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(value.detach().contiguous(), requires_grad=False)


def _linear(given: dict[str, Any]) -> nn.Module:
    outputs, inputs = given["weight"].shape
    bias = given.get("bias")
    return _filled(nn.Linear(inputs, outputs, bias=bias is not None, device="meta"), given)


def _convolution(kind: type[nn.Module], given: dict[str, Any]) -> nn.Module:
    weight, groups = given["weight"], given.get("groups", 1)
    transposed = issubclass(kind, nn.modules.conv._ConvTransposeNd)
    inputs, outputs = weight.shape[:2] if transposed else (weight.shape[1], weight.shape[0])
    dimensions = weight.dim() - 2
    options = {
        key: _tuple(given[key], dimensions)
        for key in ("stride", "padding", "output_padding", "dilation")
        if key in given
    }
    channels = (inputs, outputs * groups) if transposed else (inputs * groups, outputs)
    bias = given.get("bias") is not None
    kernel = tuple(weight.shape[2:])
    empty = kind(*channels, kernel, groups=groups, bias=bias, device="meta", **options)
    return _filled(empty, given)


def _tuple(value: Any, dimensions: int) -> Any:
    if isinstance(value, str):
        return value
    numbers = [value] if isinstance(value, int) else list(value)
    return tuple(numbers * dimensions if len(numbers) == 1 else numbers)


def _filled(layer: nn.Module, given: dict[str, Any]) -> nn.Module:
    layer.weight, layer.bias = _parameter(given["weight"]), _parameter(given.get("bias"))  # type: ignore[assignment]
    return layer


def _norm(given: dict[str, Any]) -> nn.Module | None:
    mean, variance = given.get("running_mean"), given.get("running_var")
    values = [given.get(key) for key in ("weight", "bias")]
    if (
        not isinstance(mean, Tensor)
        or not isinstance(variance, Tensor)
        or any(isinstance(value, fx.Node) for value in values)
    ):
        return None
    affine = isinstance(values[0], Tensor)
    norm = _AnyBatchNorm(len(mean), eps=given.get("eps", 1e-5), affine=affine)
    norm.running_mean, norm.running_var = mean.clone(), variance.clone()
    if affine:
        weight, bias = (_parameter(value) for value in values)
        assert weight is not None
        norm.weight = weight
        norm.bias = bias if bias is not None else nn.Parameter(torch.zeros_like(weight))
    return norm


class _AnyBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm for any number of dimensions, in which alone torch's three classes differ."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def _free_path(traced: fx.GraphModule, node: fx.Node, used: set[str]) -> str:
    """Find a path for a layer: that of the module that computed it if it did nothing else, or one inside."""
    stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]
    owner = stack[-1] if stack else ""
    owner = owner if _exists(traced, owner) else ""
    if owner and owner not in used and _is_alone(traced, owner, node):
        return owner
    base = path = f"{owner}.{operation(node)}".removeprefix(".")
    number = 1
    while path in used or _is_taken(traced, path):
        number += 1
        path = f"{base}_{number}"
    return path


def _is_alone(traced: fx.GraphModule, owner: str, node: fx.Node) -> bool:
    """Return whether only a node's own weights are read from a module, so that a layer can replace it."""
    if list(traced.get_submodule(owner).children()):
        return False
    read = [n for n in traced.graph.nodes if n.op == "get_attr" and str(n.target).startswith(f"{owner}.")]
    return all(set(constant.users) <= {node} for constant in read)


def _is_taken(traced: fx.GraphModule, path: str) -> bool:
    """Return whether a module or anything else has a name already."""
    owner, _, leaf = path.rpartition(".")
    return hasattr(traced.get_submodule(owner), leaf)


def _exists(traced: fx.GraphModule, path: str) -> bool:
    try:
        traced.get_submodule(path)
    except AttributeError:
        return False
    return True


def _place(traced: fx.GraphModule, path: str, layer: nn.Module) -> None:
    if _exists(traced, path):
        traced.set_submodule(path, layer)
    else:
        traced.add_submodule(path, layer)
