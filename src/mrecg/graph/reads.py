"""Properties of a layer's value that a graph reads besides its numbers: type, device, dimensions, channels.

``scale.to(x.dtype)`` in a frozen BatchNorm is one more reader of the layer's value, though it reads none of
its numbers. What the layer alone decides is written into the graph instead.
"""

from typing import Any

from torch import Tensor, fx, nn

from mrecg.graph.ops import operation


def resolve_reads(node: fx.Node, layer: nn.Module, channels: int) -> bool:
    """Replace what is read of a layer's value by what it is.

    Args:
        layer: The weight layer that decides it.
        channels: Its output channels.

    Returns:
        Whether something was replaced; constants may depend on constants alone now.
    """
    found = False
    for user in list(node.users):
        value = _value(user, node, layer, channels)
        if value is None:
            found |= _resolve_shape(user, node, layer, channels)
            continue
        _replace(user, value)
        found = True
    return found


def _value(user: fx.Node, node: fx.Node, layer: nn.Module, channels: int) -> Any:
    """Return the value of a node if the layer decides it; None otherwise."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    name, rest = operation(user), user.args[1:]
    conv = not isinstance(layer, nn.Linear)
    if not user.args or user.args[0] is not node:
        # A constant that takes over the value's type, or its shape in a product that would do so anyway.
        if name in ("type_as", "to") and len(user.args) == 2 and user.args[1] is node and not user.kwargs:
            constant = user.args[0]
            return _cast(user, constant, weight) if isinstance(constant, fx.Node) else None
        return None
    if name == "getattr":
        known = {"dtype": weight.dtype, "device": weight.device, "ndim": weight.dim() if conv else None}
        return known.get(str(rest[0]))
    if name == "dim" and conv:
        return weight.dim()
    axis = user.kwargs.get("dim", rest[0] if rest else None)
    if name == "size" and conv and axis in (1, 1 - weight.dim()):
        return channels
    return None


def _cast(user: fx.Node, constant: fx.Node, weight: Tensor) -> fx.Node | None:
    if constant.op != "get_attr":
        return None
    with user.graph.inserting_before(user):
        made = user.graph.call_method("to", (constant, weight.dtype))
    made.meta = dict(user.meta)
    return made


def _resolve_shape(user: fx.Node, node: fx.Node, layer: nn.Module, channels: int) -> bool:
    """``x.shape[1]`` and ``x.size()[1]``: only where nothing else of the shape is read."""
    whole = (operation(user) == "getattr" and user.args[1] == "shape") or (
        operation(user) == "size" and len(user.args) == 1 and not user.kwargs
    )
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not whole or user.args[0] is not node or isinstance(layer, nn.Linear):
        return False
    places = (1, 1 - weight.dim())
    if not all(operation(read) == "getitem" and read.args[1] in places for read in user.users):
        return False
    for read in list(user.users):
        _replace(read, channels)
    user.graph.erase_node(user)
    return True


def _replace(node: fx.Node, value: Any) -> None:
    def swap(found: fx.Node) -> Any:
        return value if found is node else found

    if isinstance(value, fx.Node):
        node.replace_all_uses_with(value)
    else:
        for user in list(node.users):
            user.args, user.kwargs = fx.node.map_arg(user.args, swap), fx.node.map_arg(user.kwargs, swap)
    node.graph.erase_node(node)
