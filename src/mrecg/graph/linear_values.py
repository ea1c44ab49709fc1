"""Values whose basis is free: their channels may be shifted or scaled, and the layers around undo it.

A *chain* is what several convolutions without an activation function add up, along a residual path, and other
convolutions read: the bottlenecks of MobileNetV2 and its kin. Its producers and readers change together.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from torch import fx, nn

from mrecg.graph.affine import outputs_of
from mrecg.graph.moves import value_inputs
from mrecg.graph.ops import clamp_of, is_number, is_weight_layer, module_of, operation
from mrecg.graph.same_padding import SamePad2d

_Sums = Counter[fx.Node]
_ADAPTIVE = nn.modules.pooling._AdaptiveAvgPoolNd
_CONV, _TRANSPOSED = nn.modules.conv._ConvNd, nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True)
class LinearValue:
    """A value of a chain.

    Attributes:
        node: Name of its node.
        sums: How often the value of each producer of the chain is in it.
        readers: Paths of the layers that read it.
    """

    node: str
    sums: tuple[int, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """Values whose channels can be shifted, each value by numbers of its own.

    Attributes:
        producers: Paths of the layers whose sums they are.
        channels: Their number.
        axis: Where the channels stand.
        values: In order.
    """

    producers: tuple[str, ...]
    channels: int
    axis: int
    values: tuple[LinearValue, ...]


@dataclass(frozen=True)
class DepthwiseInput:
    """The one value between a layer and the depthwise convolution that alone reads it.

    Attributes:
        producer: Path of the layer before it.
        node: Name of the value's node: the producer's, or that of its ReLU.
        clamps: Whether there is a ReLU.
        cap: Where the ReLU ends: 6 for ReLU6, infinite for ReLU.
        reader: Path of the depthwise convolution.
    """

    producer: str
    node: str
    clamps: bool
    cap: float
    reader: str


def linear_chains(traced: fx.GraphModule) -> list[Chain]:
    """Find the chains of a graph.

    Args:
        traced: A folded graph.

    Returns:
        Those whose readers all take a shift out again, in order.
    """
    sums = _sums(traced.graph)
    found = []
    for producers in _connected(sums.values()):
        values = [node for node, parts in sums.items() if not producers.isdisjoint(parts)]
        if (chain := _chain(producers, values, sums)) is not None:
            found.append(chain)
    return found


def _sums(graph: fx.Graph) -> dict[fx.Node, _Sums]:
    """Find what is a sum of layers' values, and perhaps of others."""
    sums: dict[fx.Node, _Sums] = {}
    for node in graph.nodes:
        if is_weight_layer(node):
            sums[node] = Counter([node])
        elif _adds(node):
            parts = sum((sums[source] for source in node.args if source in sums), _Sums())
            if parts:
                sums[node] = parts
        elif (source := _averaged(node, sums)) is not None:
            sums[node] = sums[source]
    return sums


def _adds(node: fx.Node) -> bool:
    """Return whether a node adds two values as they are."""
    if operation(node) != "add" or len(node.args) != 2 or node.kwargs not in ({}, {"alpha": 1}):
        return False
    return all(isinstance(value, fx.Node) for value in node.args)


def _averaged(node: fx.Node, sums: dict[fx.Node, _Sums]) -> fx.Node | None:
    """The value of which a node takes the mean in each channel, or the vector of such means.

    A mean of what is shifted is the mean, shifted.
    """
    sources = value_inputs(node)
    if len(sources) != 1 or sources[0] not in sums:
        return None
    (source,) = sources
    images = all(isinstance(module_of(part), _CONV) for part in sums[source])
    name, module = operation(node), module_of(node)
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    whole = isinstance(axes, list | tuple) and {axis % 4 for axis in axes if isinstance(axis, int)} == {2, 3}
    mean = isinstance(module, _ADAPTIVE) or name.startswith("adaptive_avg_pool") or (name == "mean" and whole)
    if images and mean:
        return source
    if _adds(source) or is_weight_layer(source):
        return None
    start = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
    flat = (isinstance(module, nn.Flatten) and module.start_dim == 1) or (name == "flatten" and start == 1)
    return source if flat else None


def _connected(sums: Iterable[_Sums]) -> list[set[fx.Node]]:
    """Gather layers whose values are added up anywhere."""
    groups: list[set[fx.Node]] = []
    for parts in sums:
        joined = set(parts)
        apart = []
        for group in groups:
            if group.isdisjoint(joined):
                apart.append(group)
            else:
                joined |= group
        groups = [*apart, joined]
    order = {node: place for place, node in enumerate(next(iter(groups[0])).graph.nodes)} if groups else {}
    return sorted(groups, key=lambda group: min(order[node] for node in group))


def _chain(producers: set[fx.Node], values: Sequence[fx.Node], sums: dict[fx.Node, _Sums]) -> Chain | None:
    """Describe a chain; None where something reads it that would see the shift."""
    ordered = [node for node in values if node in producers]
    layers = [_layer(node) for node in ordered]
    channels, kind = outputs_of(layers[0]), type(layers[0])
    if any(outputs_of(layer) != channels or type(layer) is not kind for layer in layers):
        return None
    found = []
    for node in values:
        readers = []
        for user in node.users:
            if is_weight_layer(user) and _undoes_a_shift(_layer(user), channels):
                readers.append(str(user.target))
            elif is_weight_layer(user) or (not is_number(user) and user not in sums):
                return None
        found.append(LinearValue(node.name, tuple(sums[node][one] for one in ordered), tuple(readers)))
    if not any(value.readers for value in found):
        return None
    axis = -1 if issubclass(kind, nn.Linear) else 1
    return Chain(tuple(str(node.target) for node in ordered), channels, axis, tuple(found))


def _layer(node: fx.Node) -> nn.Module:
    layer = module_of(node)
    assert layer is not None
    return layer


def _undoes_a_shift(layer: nn.Module, channels: int) -> bool:
    """Return whether a bias can undo a shift of a layer's input: not where it adds zeros at the border."""
    if isinstance(layer, nn.Linear):
        return layer.in_features == channels
    assert isinstance(layer, _CONV)
    if isinstance(layer, _TRANSPOSED) or layer.in_channels != channels:
        return False
    same = isinstance(layer.padding, str)
    padded = (layer.padding == "same" and max(layer.kernel_size) > 1) if same else any(layer.padding)
    return not padded or layer.padding_mode != "zeros"


def depthwise_inputs(traced: fx.GraphModule) -> Iterator[DepthwiseInput]:
    """Find the values whose channels a depthwise convolution reads, and nothing else.

    Args:
        traced: A folded graph.

    Yields:
        Those that a convolution makes, with a ReLU, ReLU6 or nothing between.
    """
    for node in traced.graph.nodes:
        layer = module_of(node)
        if not isinstance(layer, _CONV) or isinstance(layer, _TRANSPOSED):
            continue
        if layer.groups != layer.in_channels or layer.groups == 1:
            continue
        value = node.args[0]
        if isinstance(module_of(value), SamePad2d) and len(value.users) == 1:
            value = value.args[0]
        clamp = clamp_of(value)
        producer = value if clamp is None else value.all_input_nodes[0]
        made = module_of(producer)
        alone = len(value.users) == len(producer.users) == 1
        known = clamp is None or (clamp[0] == 0 and clamp[1] > 0)
        if alone and known and isinstance(made, _CONV) and not isinstance(made, _TRANSPOSED):
            yield DepthwiseInput(
                producer=str(producer.target),
                node=value.name,
                clamps=clamp is not None,
                cap=inf if clamp is None else clamp[1],
                reader=str(node.target),
            )
