"""Kinds of nodes in a traced graph: weight layers, activations, joins, and ops that only move values.

An operation has one name, whether it is a module, a function, a method, an operator or one of
``torch.export``'s overloads, and whether it works in place.
"""

import math
from typing import cast

import torch
from torch import fx, nn

WEIGHT_LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.SiLU,
    nn.GELU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
)
_ACTIVATION_NAMES = {
    "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus", "clamp", "clamp_min", "clip",
}  # fmt: skip
_PRODUCTS = {"mul", "multiply", "div", "truediv", "true_divide", "divide", "maximum", "minimum"}
_SIZES = {"size", "sym_size", "dim", "numel", "len"}
_CONCATENATIONS = {"cat", "concat", "concatenate", "stack"}
_PRODUCTS_OF_MATRICES = {"matmul", "bmm", "mm", "einsum", "scaled_dot_product_attention", "baddbmm", "addmm"}
CONVOLUTIONS = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
"""Functions with weights, and the modules that do the same."""
_NORMALISATIONS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)
_NORMALISATION_NAMES = {
    "batch_norm",
    "instance_norm",
    "layer_norm",
    "group_norm",
    "native_layer_norm",
    "rms_norm",
}
_STRIDED_POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
)
_POOL_NAMES = {"max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"}


def module_of(node: fx.Node) -> nn.Module | None:
    """Look up the module that a ``call_module`` node calls.

    Returns:
        The module; None for all other nodes.
    """
    if node.op != "call_module":
        return None
    owner = node.graph.owning_module
    assert owner is not None
    return owner.get_submodule(str(node.target))


def attribute_of(module: nn.Module, path: str) -> torch.Tensor:
    """Look up the parameter or buffer that a ``get_attr`` node reads.

    Args:
        module: The graph's module.
        path: Dotted path of the tensor.
    """
    owner, _, leaf = path.rpartition(".")
    return cast(torch.Tensor, getattr(module.get_submodule(owner), leaf))


def operation(node: fx.Node) -> str:
    """Name what a function or method node does.

    Returns:
        For example ``add`` for ``a + b``, ``a += b``, ``a.add_(b)``, ``torch.add`` and ``aten.add.Tensor``;
        empty for what is neither a function nor a method.
    """
    if node.op == "call_method":
        name = str(node.target)
    elif node.op == "call_function":
        target = node.target
        packet = target._overloadpacket if isinstance(target, torch._ops.OpOverload) else target
        name = getattr(packet, "__name__", "")
    else:
        return ""
    name = name if name.endswith("__") else name.removesuffix("_")
    return name[1:] if name in ("iadd", "isub", "imul", "itruediv") else name


def is_weight_layer(node: fx.Node) -> bool:
    """Return whether a node is a convolution or linear module."""
    return isinstance(module_of(node), WEIGHT_LAYERS)


def is_functional_layer(node: fx.Node) -> bool:
    """Return whether a node is a convolution or linear layer in the form of a function."""
    return operation(node) in CONVOLUTIONS or operation(node) == "linear"


def has_own_weights(node: fx.Node) -> bool:
    """Return whether a node applies weights, quantized or not: also an LSTM or a deformable convolution.

    A convolution that is left as a function has a fixed filter: like a pooling it only resamples.
    """
    if is_weight_layer(node) or ("conv" in operation(node) and not is_functional_layer(node)):
        return True
    module = module_of(node)
    inside = [] if module is None or is_normalisation(node) else list(module.parameters())
    return any(parameter.dim() > 1 for parameter in inside)


def is_matrix_product(node: fx.Node) -> bool:
    """Return whether a node multiplies matrices, which no weight layer does for it."""
    return operation(node) in _PRODUCTS_OF_MATRICES


def is_activation(node: fx.Node) -> bool:
    """Return whether a node is an activation function, as a module, a function or a method."""
    return isinstance(module_of(node), ACTIVATIONS) or (
        operation(node) in _ACTIVATION_NAMES and tensor_inputs(node) == 1
    )


def clamp_of(node: fx.Node) -> tuple[float, float] | None:
    """Tell between which ends an activation function clamps, if it does nothing else.

    Returns:
        The ends, infinite where there is none; None for every other node.
    """
    module, name = module_of(node), operation(node)
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return float(module.min_val), float(module.max_val)
    if isinstance(module, nn.ReLU) or name == "relu":
        return 0.0, math.inf
    if name == "relu6":
        return 0.0, 6.0
    keys = {"hardtanh": ("min_val", "max_val"), "clamp": ("min", "max"), "clip": ("min", "max")}.get(name)
    if keys is None or tensor_inputs(node) != 1:
        return None
    default = 1.0 if name == "hardtanh" else math.inf
    given = dict(zip(keys, node.args[1:], strict=False)) | dict(node.kwargs)
    low, high = given.get(keys[0], -default), given.get(keys[1], default)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return (low, high) if isinstance(low, (int, float)) and isinstance(high, (int, float)) else None


def is_normalisation(node: fx.Node) -> bool:
    """Return whether a node is a normalisation that stayed in the graph: its output takes new values."""
    return isinstance(module_of(node), _NORMALISATIONS) or operation(node) in _NORMALISATION_NAMES


def is_number(node: fx.Node) -> bool:
    """Return whether a node reads or computes a size, not a tensor."""
    name, sources = operation(node), node.all_input_nodes
    if name == "getattr":
        return node.args[1] in ("shape", "ndim")
    return name in _SIZES or (bool(name) and bool(sources) and all(is_number(source) for source in sources))


def tensor_inputs(node: fx.Node) -> int:
    """Count the values that a node computes with; parameters, constants and sizes are none."""
    sources = node.all_input_nodes
    return sum(source.op != "get_attr" and not is_number(source) for source in sources)


def is_concatenation(node: fx.Node) -> bool:
    """Return whether a node only concatenates tensors."""
    return operation(node) in _CONCATENATIONS


def is_join(node: fx.Node) -> bool:
    """Return whether a node joins tensors in any way: add, multiply, concatenate, blend."""
    computes = node.op in ("call_function", "call_method", "call_module")
    return is_concatenation(node) or (computes and tensor_inputs(node) > 1)


def is_gate(node: fx.Node) -> bool:
    """Return whether a node is a join that multiplies (or divides)."""
    return (operation(node) in _PRODUCTS or is_matrix_product(node)) and tensor_inputs(node) > 1


def is_addition(node: fx.Node) -> bool:
    """Return whether a node is a join that adds, or makes new values in another way than by a product."""
    return is_join(node) and not is_gate(node) and not is_concatenation(node)


def is_arithmetic_join(node: fx.Node) -> bool:
    """Return whether a join makes new values (add, multiply), not only a longer tensor."""
    return is_join(node) and not is_concatenation(node)


def is_elementwise(node: fx.Node) -> bool:
    """Return whether a node is an activation function, or joins values by arithmetic."""
    return is_activation(node) or is_arithmetic_join(node)


def downsamples(node: fx.Node) -> bool:
    """Return whether a node makes its image smaller: a strided convolution or pooling."""
    module = module_of(node)
    if isinstance(module, nn.modules.conv._ConvNd):
        return max(module.stride) > 1 and not isinstance(module, nn.modules.conv._ConvTransposeNd)
    if isinstance(module, _STRIDED_POOLS):
        stride = module.stride if module.stride is not None else module.kernel_size
        return _largest(stride) > 1
    if operation(node) in _POOL_NAMES:
        given = dict(zip(("input", "kernel_size", "stride"), node.args, strict=False)) | dict(node.kwargs)
        return _largest(given.get("stride") or given.get("kernel_size")) > 1
    return False


def _largest(size: object) -> int:
    if isinstance(size, int):
        return size
    numbers = [int(part) for part in size] if isinstance(size, (tuple, list)) else []
    return max(numbers, default=1)
