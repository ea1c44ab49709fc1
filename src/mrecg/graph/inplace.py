"""Replace in-place operations: a unit's input is a cached tensor, which must not change."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from mrecg.graph.ops import module_of, operation

_OUT_OF_PLACE: dict[object, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def make_out_of_place(traced: fx.GraphModule) -> None:
    """Replace in-place operations; later readers of an overwritten tensor read the result instead.

    A tensor that is overwritten through a view of it is not followed: `trace` compares the outputs.

    Args:
        traced: The graph, changed in place.
    """
    for node in list(traced.graph.nodes):
        # These are the same memory: what overwrites them, overwrites their source.
        if operation(node) == "detach" or (operation(node) == "getattr" and node.args[1] == "data"):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
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
        place = parameters(node.target).index("inplace") if "inplace" in parameters(node.target) else -1
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif 0 <= place < len(node.args) and node.args[place]:
            node.args = (*node.args[:place], False, *node.args[place + 1 :])
    return before != (node.target, node.args, node.kwargs)


def _overwrites(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def parameters(function: object) -> list[str]:
    """Names of a function's parameters; none for a builtin that does not tell."""
    try:
        return list(inspect.signature(function).parameters) if callable(function) else []
    except ValueError:
        return []
