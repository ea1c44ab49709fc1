"""Parts that stay in full precision although they have parameters or multiply matrices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import fx, nn

from mrecg.graph.functional_layers import is_fixed_filter
from mrecg.graph.ops import (
    attribute_of,
    is_activation,
    is_matrix_product,
    is_normalisation,
    is_weight_layer,
    module_of,
    operation,
)
from mrecg.graph.partition import common_path

NAMED = 3
"""Places that a note names, at most."""


@dataclass(frozen=True, kw_only=True)
class Unquantized:
    """A part of a network that is not quantized.

    Attributes:
        name: The path of the module, or the name of the parameter or operation.
        reason: Why it is not quantized.
        parameters: The number of its parameters.
    """

    name: str
    reason: str
    parameters: int


def unquantized(traced: fx.GraphModule) -> list[Unquantized]:
    """List the parts that no quantizer can be put into.

    Activation functions with a parameter (PReLU) are not among them: like a bias, that is not a weight.

    Args:
        traced: A folded graph.

    Returns:
        The parts in the graph's order.
    """
    found: dict[str, Unquantized] = {}
    for node in traced.graph.nodes:
        part = _tensor(traced, node) if node.op == "get_attr" else _computation(traced, node)
        if part is not None:
            found.setdefault(part.name, part)
    return list(found.values())


def _computation(traced: fx.GraphModule, node: fx.Node) -> Unquantized | None:
    module = module_of(node)
    name = node.name if module is None else str(node.target)
    count = 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return Unquantized(
            name=name, reason="BatchNorm that follows no weight layer of its own", parameters=count
        )
    if is_normalisation(node):
        kind = operation(node) if module is None else type(module).__name__
        path = name if module is not None else common_path([node]) or name
        return Unquantized(name=path, reason=f"{kind}, which depends on its input", parameters=count)
    if is_fixed_filter(traced, node):
        path = common_path([node]) or name
        return Unquantized(
            name=path, reason="fixed filter: a buffer that resamples each channel", parameters=0
        )
    if is_matrix_product(node):
        return Unquantized(name=name, reason="product of two activations", parameters=0)
    if count and not is_weight_layer(node) and not is_activation(node):
        return Unquantized(name=name, reason=f"weights inside {type(module).__name__}", parameters=count)
    return None


def _tensor(traced: fx.GraphModule, node: fx.Node) -> Unquantized | None:
    value = attribute_of(traced, str(node.target))
    if not isinstance(value, nn.Parameter) or all(is_normalisation(user) for user in node.users):
        return None
    return Unquantized(
        name=str(node.target), reason="parameter in an operation of its own", parameters=value.numel()
    )


def said(parts: Sequence[Unquantized]) -> list[str]:
    """Say what stays in full precision, a line for each reason.

    Args:
        parts: From `unquantized`.

    Returns:
        Lines such as ``stays in full precision: rnn (weights inside LSTM; 66,560 parameters)``.
    """
    lines = []
    for reason in dict.fromkeys(part.reason for part in parts):
        same = [part for part in parts if part.reason == reason]
        count = sum(part.parameters for part in same)
        what = f"{reason}; {count:,} parameters" if count else reason
        lines.append(f"stays in full precision: {_listed(part.name for part in same)} ({what})")
    return lines


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")
