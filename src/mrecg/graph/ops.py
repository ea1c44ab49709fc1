"""What the nodes of a traced graph are: weight layers, activations, joins, and ops that only move values."""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
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
    "relu", "relu6", "relu_", "leaky_relu", "prelu", "elu", "selu", "celu", "silu", "gelu", "mish",
    "hardswish", "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus",
}  # fmt: skip
_JOINS: set[Callable[..., Any]] = {
    operator.add,
    operator.iadd,
    torch.add,
    operator.mul,
    operator.imul,
    torch.mul,
}
_CONCATENATIONS: set[Callable[..., Any]] = {torch.cat, torch.concat, torch.stack}
_ADDITIONS: set[Callable[..., Any]] = {operator.add, operator.iadd, torch.add}
_FUNCTIONAL_WEIGHTS: set[Callable[..., Any]] = {
    F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear,
    torch.matmul, torch.bmm, torch.mm, operator.matmul, F.scaled_dot_product_attention,
}  # fmt: skip


_NORMALISATIONS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
_FUNCTIONAL_NORMALISATIONS: set[Callable[..., Any]] = {
    F.batch_norm,
    F.instance_norm,
    F.layer_norm,
    F.group_norm,
}


def module_of(node: fx.Node) -> nn.Module | None:
    """Look up the module that a ``call_module`` node calls.

    Args:
        node: Any node.

    Returns:
        The module; None for all other nodes.
    """
    if node.op != "call_module":
        return None
    owner = node.graph.owning_module
    assert owner is not None
    return owner.get_submodule(str(node.target))


def is_weight_layer(node: fx.Node) -> bool:
    """Tell whether a node is a convolution or linear module."""
    return isinstance(module_of(node), WEIGHT_LAYERS)


def is_functional_weight(node: fx.Node) -> bool:
    """Tell whether a node multiplies by weights outside of a module (which is not supported yet)."""
    return (node.op == "call_function" and node.target in _FUNCTIONAL_WEIGHTS) or (
        node.op == "call_method" and node.target in ("matmul", "bmm", "mm")
    )


def is_activation(node: fx.Node) -> bool:
    """Tell whether a node is an activation function, as a module, a function or a method."""
    if node.op == "call_module":
        return isinstance(module_of(node), ACTIVATIONS)
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name in _ACTIVATION_NAMES


def is_normalisation(node: fx.Node) -> bool:
    """Tell whether a node is a normalisation that stayed in the graph: its output takes new values."""
    if node.op == "call_module":
        return isinstance(module_of(node), _NORMALISATIONS)
    return node.op == "call_function" and node.target in _FUNCTIONAL_NORMALISATIONS


def _tensor_inputs(node: fx.Node) -> int:
    return len([source for source in node.all_input_nodes if source.op != "get_attr"])


def is_join(node: fx.Node) -> bool:
    """Tell whether a node joins two or more tensors: add, multiply or concatenate."""
    if node.op == "call_function" and node.target in _CONCATENATIONS:
        return True
    called = node.op == "call_function" and node.target in _JOINS
    method = node.op == "call_method" and node.target in ("add", "add_", "mul", "mul_")
    return (called or method) and _tensor_inputs(node) > 1


def is_addition(node: fx.Node) -> bool:
    """Tell whether a node is a join that adds."""
    return is_join(node) and (node.target in _ADDITIONS or node.target in ("add", "add_"))


def is_gate(node: fx.Node) -> bool:
    """Tell whether a node is a join that multiplies."""
    return is_arithmetic_join(node) and not is_addition(node)


def is_arithmetic_join(node: fx.Node) -> bool:
    """Tell whether a join makes new values (add, multiply), not only a longer tensor."""
    return is_join(node) and not (node.op == "call_function" and node.target in _CONCATENATIONS)
