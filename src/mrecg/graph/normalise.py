"""Rewrites after which a graph says only what matters in inference, each value where it is used."""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from mrecg.graph.inplace import parameters
from mrecg.graph.ops import is_weight_layer, module_of, operation
from mrecg.graph.shapes import values_of

_DROPOUTS = {
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_dropout",
    "alpha_dropout",
    "stochastic_depth",
}
_SAME = {"detach", "alias", "lift_fresh_copy"}
_ASSERTIONS = ("_assert", "_check")


def drop_identities(traced: fx.GraphModule) -> None:
    """Take out what only matters in training or for a check, so that nothing stands between layers.

    Args:
        traced: The graph, changed in place.
    """
    for node in reversed(list(traced.graph.nodes)):
        if operation(node).startswith(_ASSERTIONS) and not node.users:
            traced.graph.erase_node(node)
    for node in list(traced.graph.nodes):
        idle = isinstance(module_of(node), nn.Identity | nn.modules.dropout._DropoutNd)
        if idle or operation(node) in _SAME or _is_idle_dropout(node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()


def _is_idle_dropout(node: fx.Node) -> bool:
    if node.op != "call_function" or getattr(node.target, "__name__", "") not in _DROPOUTS:
        return False
    given = dict(zip(parameters(node.target), node.args, strict=False)) | node.kwargs
    return given.get("training") is False


def untie(traced: fx.GraphModule) -> list[str]:
    """Give each call of a shared weight layer or BatchNorm a layer of its own.

    The calls see other values, so each gets integers of its own; in full precision nothing changes.

    Args:
        traced: The graph, changed in place.

    Returns:
        A note on each layer that is called more than once.
    """
    calls: dict[str, int] = {}
    notes = {}
    for node in traced.graph.nodes:
        layer = module_of(node)
        if not (is_weight_layer(node) or isinstance(layer, nn.modules.batchnorm._BatchNorm)):
            continue
        path = str(node.target)
        calls[path] = calls.get(path, 0) + 1
        if calls[path] > 1:
            own = f"{path}_call{calls[path]}"
            assert layer is not None
            traced.add_submodule(own, copy.deepcopy(layer))
            node.target = own
            if is_weight_layer(node):
                notes[path] = f"{path} is called {calls[path]} times: each call is quantized on its own"
    return list(notes.values())


@torch.no_grad()
def localise_sizes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> None:
    """Read each size where it is used, so that no number stays alive across the whole network.

    ``batch = x.shape[0]`` at the beginning and ``view(batch, -1)`` at the end would leave no place to cut.
    The number of images is read from the tensor at hand instead; other sizes become constants of this input
    shape. Only sizes that stand beside a weight layer after their tensor is gone are touched.

    Args:
        traced: The graph, changed in place.
        input_shape: Channels, height and width of an image.
    """
    if not _outliving(traced):
        return
    few, more = (values_of(traced, (images, *input_shape)) for images in (2, 3))
    _make_where_used(traced, few, more)
    for node in _outliving(traced):
        if isinstance(few[node], Tensor):
            continue
        value = tuple(few[node]) if isinstance(few[node], torch.Size) else few[node]
        for user in list(node.users):
            if few[node] == more[node]:
                user.args, user.kwargs = _with(user, node, value)
            elif value == 2:
                tensor = _tensor_beside(user, few)
                if tensor is not None:
                    with traced.graph.inserting_before(user):
                        size = traced.graph.call_method("size", (tensor, 0))
                    size.meta = dict(user.meta)
                    user.replace_input_with(node, size)
    for node in list(traced.graph.nodes):
        if node.op == "call_function" and not node.all_input_nodes and node.target in vars(operator).values():
            assert callable(node.target)
            value = node.target(*node.args)
            for user in list(node.users):
                user.args, user.kwargs = _with(user, node, value)
    traced.graph.eliminate_dead_code()


def _make_where_used(traced: fx.GraphModule, few: dict[fx.Node, Any], more: dict[fx.Node, Any]) -> None:
    """Make what follows from sizes alone (zeros for each image) again in front of each of its users."""
    for node in reversed(list(_origins(traced))):
        if not isinstance(few[node], Tensor):
            continue
        for user in list(node.users):
            with traced.graph.inserting_before(user):
                own = traced.graph.node_copy(node)
            own.meta = dict(node.meta)
            few[own], more[own] = few[node], more[node]
            user.replace_input_with(node, own)
        traced.graph.erase_node(node)


def _tensor_beside(user: fx.Node, values: dict[fx.Node, Any]) -> fx.Node | None:
    """A tensor of two images that a node reads; for what only makes a tensor, one that its users read."""
    readers = [user]
    for node in readers:
        for source in node.all_input_nodes:
            if _images(values, source) == 2 and source < user:
                return source
        readers += [reader for reader in node.users if reader not in readers]
    return None


def _images(values: dict[fx.Node, Any], node: fx.Node) -> int:
    value = values.get(node)
    return value.shape[0] if isinstance(value, Tensor) and value.dim() > 1 else 0


def _with(user: fx.Node, node: fx.Node, value: Any) -> tuple[Any, Any]:
    def swap(found: fx.Node) -> Any:
        return value if found is node else found

    return fx.node.map_arg(user.args, swap), fx.node.map_arg(user.kwargs, swap)


def _outliving(traced: fx.GraphModule) -> list[fx.Node]:
    """Sizes that are alive beside a weight layer, where the tensor that they came from no longer is."""
    nodes = list(traced.graph.nodes)
    position = {node: i for i, node in enumerate(nodes)}
    last = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
    layers = [i for i, node in enumerate(nodes) if is_weight_layer(node)]
    origins = _origins(traced).items()
    return [node for node, tensor in origins if any(last[tensor] < i < last[node] for i in layers)]


def _origins(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Collect what follows from sizes alone, numbers and tensors, with the tensor whose size it is."""
    origin: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        sources = node.all_input_nodes
        if operation(node) in ("size", "getattr", "sym_size") and (
            operation(node) != "getattr" or node.args[1] == "shape"
        ):
            origin[node] = sources[0]
        elif sources and node.op in ("call_function", "call_method") and all(s in origin for s in sources):
            origin[node] = origin[sources[0]]
    return origin
