"""Factor and offset of a node of a graph: elementwise operations with constants, in any spelling.

A frozen BatchNorm, a layer scale, ``(x - mean) / std`` and ``2 * x + 0.1`` are one kind of operation. They
are recognised by what the node computes, in the form of a function, a method or an operator; modules of a
library are such nodes after tracing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from mrecg.graph.ops import attribute_of, operation

F64 = torch.float64


class Step(NamedTuple):
    """Effect of an elementwise operation on a layer's value.

    Attributes:
        before: Subtracted first.
        factor: Multiplied then.
        after: Added last. Each is one number, or one per output channel, float64, shape (1,) or (C,).
    """

    before: Tensor
    factor: Tensor
    after: Tensor


class Affine(nn.Module):
    """One factor and one shift per channel.

    Args:
        step: What it does.
        shape: In which one number per channel broadcasts against the values, for example (-1, 1, 1).
        like: The weight of the layer before it.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, step: Step, shape: tuple[int, ...], like: Tensor) -> None:
        super().__init__()
        shift = step.after - step.before * step.factor
        self.register_buffer("factor", step.factor.reshape(shape).to(like))
        self.register_buffer("shift", shift.reshape(shape).to(like))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add."""
        return x * self.factor + self.shift


def norm_step(norm: nn.modules.batchnorm._BatchNorm) -> Step | None:
    """Read a BatchNorm in evaluation mode.

    Returns:
        What it does; None where it has no statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        return None
    mean, factor = norm.running_mean.double(), torch.rsqrt(norm.running_var.double() + norm.eps)
    factor = factor if norm.weight is None else factor * norm.weight.double()
    return Step(mean, factor, torch.zeros_like(mean) if norm.bias is None else norm.bias.double())


def affine_step(node: fx.Node, source: fx.Node, layer: nn.Module) -> Step | None:
    """Read an elementwise operation with constants on a layer's value.

    Args:
        source: The node that gives it.
        layer: The layer that gives that value.

    Returns:
        What it does; None where it does something else, or is not the same everywhere in a channel.
    """
    given = _arguments(node)
    read = _READ.get(operation(node))
    if given is None or read is None:
        return None
    constants: list[Any] = []
    for value in given:
        if value is source:
            constants.append(_X)
        elif (constant := _constant(value, layer)) is None:
            return None
        else:
            constants.append(constant)
    if sum(value is _X for value in constants) != 1:
        return None
    zero, one = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)
    found = read(*constants)
    if found is None:
        return None
    before, factor, after = (
        (one if i == 1 else zero) if part is None else part for i, part in enumerate(found)
    )
    return Step(before, factor, after)


class _Value:
    """Stands for the layer's value among the arguments."""


_X = _Value()
_Found = tuple[Tensor | None, Tensor | None, Tensor | None] | None
"""Subtracted first, factor, added last; None for what is not there, or for all that is not affine."""
_ORDERS = {
    **dict.fromkeys(("add", "sub", "subtract", "rsub"), ("input", "other", "alpha")),
    **dict.fromkeys(("mul", "multiply"), ("input", "other")),
    **dict.fromkeys(("div", "divide", "truediv", "true_divide"), ("input", "other", "rounding_mode")),
    **dict.fromkeys(("neg", "negative", "pos", "positive"), ("input",)),
    **dict.fromkeys(("addcmul", "addcdiv"), ("input", "tensor1", "tensor2", "value")),
}
_NUMBERS = ("alpha", "value")
"""Arguments that are 1 where they are left out."""


def _arguments(node: fx.Node) -> list[Any] | None:
    """The arguments in order, with all that may be left out; None for others than these."""
    order = _ORDERS.get(operation(node))
    if order is None or len(node.args) > len(order):
        return None
    given: dict[str, Any] = dict(zip(order, node.args, strict=False)) | dict(node.kwargs)
    if given.pop("rounding_mode", None) is not None or given.pop("out", None) is not None:
        return None
    order = tuple(key for key in order if key != "rounding_mode")
    given = {key: 1 for key in order if key in _NUMBERS} | given
    return [given[key] for key in order] if given.keys() == set(order) else None


def _constant(value: Any, layer: nn.Module) -> Tensor | None:
    """A constant as one number, or one per output channel of a layer; None where it is neither."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(value, bool | int | float):
        return torch.tensor([value], dtype=F64)
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    owner = value.graph.owning_module
    assert owner is not None
    return _per_channel(attribute_of(owner, str(value.target)).detach(), layer, weight)


def _per_channel(constant: Tensor, layer: nn.Module, weight: Tensor) -> Tensor | None:
    if constant.is_complex() or (constant.dim() and torch.result_type(weight, constant) != weight.dtype):
        return None  # the result would have another type
    if constant.dim() == 0:
        return constant.double().reshape(1)
    # Channels are the last dimension of a linear layer's value, which has at least two, and the second one of
    # a convolution's, which has as many as the weight.
    dims = 2 if isinstance(layer, nn.Linear) else weight.dim()
    shape = (1,) * (dims - constant.dim()) + tuple(constant.shape)
    others = shape[:1] + shape[2:]
    if len(shape) > dims or any(size != 1 for size in others) or shape[1] not in (1, outputs_of(layer)):
        return None
    return constant.double().reshape(-1)


def outputs_of(layer: nn.Module) -> int:
    """Count the output channels of a weight layer.

    Args:
        layer: A convolution, transposed convolution or linear module.

    Returns:
        How many it has.
    """
    assert isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _add(a: Any, b: Any, alpha: Any) -> _Found:
    if alpha is _X:
        return None
    return (None, None, b * alpha) if a is _X else (None, alpha, a)


def _sub(a: Any, b: Any, alpha: Any) -> _Found:
    if alpha is _X:
        return None
    return (b * alpha, None, None) if a is _X else (None, -alpha, a)


def _mul(a: Any, b: Any) -> _Found:
    return None, (b if a is _X else a), None


def _div(a: Any, b: Any) -> _Found:
    return (None, 1 / b, None) if a is _X else None


def _addcmul(a: Any, b: Any, c: Any, value: Any) -> _Found:
    if value is _X:
        return None
    return (None, None, b * c * value) if a is _X else (None, (c if b is _X else b) * value, a)


def _addcdiv(a: Any, b: Any, c: Any, value: Any) -> _Found:
    if value is _X or c is _X:
        return None
    return (None, None, b / c * value) if a is _X else (None, value / c, a)


_READ: dict[str, Callable[..., _Found]] = {
    "add": _add,
    **dict.fromkeys(("sub", "subtract"), _sub),
    "rsub": lambda a, b, alpha: _sub(b, a, alpha),
    **dict.fromkeys(("mul", "multiply"), _mul),
    **dict.fromkeys(("div", "divide", "truediv", "true_divide"), _div),
    **dict.fromkeys(("neg", "negative"), lambda a: (None, -torch.ones(1, dtype=F64), None)),
    **dict.fromkeys(("pos", "positive"), lambda a: (None, None, None)),
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
}
