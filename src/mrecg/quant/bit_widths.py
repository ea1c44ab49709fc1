"""Selection of the layers and activations that are quantized, and their bits.

Where quantizers stand: see `mrecg.quant.placement`. The network's input is quantized only where
``bits.input`` asks for it, after any fixed preprocessing the network begins with.

Source: BRECQ arXiv 2102.05426 and QDrop arXiv 2203.05740, section "implementation details".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx

from mrecg.config.schema import FLOAT_BITS, BitsConfig
from mrecg.errors import CheckpointError, ConfigError
from mrecg.graph.ops import is_weight_layer, module_of
from mrecg.graph.unquantized import Unquantized
from mrecg.quant.bit_patterns import excluded, kinds_of, matching, said_widths, widths
from mrecg.quant.placement import IMAGE, Point, Reach, place, reach

_STEM_BITS = 8
"""The number that ``bits.stem_output`` takes besides its words."""


@dataclass(frozen=True)
class Policy:
    """Bits of everything that is quantized.

    Attributes:
        layers: Weight bits by module path; a path that is missing is not quantized.
        activations: Bits by the name of the node whose value is quantized, in the graph's order.
        reads: Bits of what a layer reads, 32 among them, by module path; empty where the policy was recorded.
        readers: Module paths of the layers that read a quantized value, by the name of its node; likewise.
    """

    layers: dict[str, int]
    activations: dict[str, int]
    reads: dict[str, int] = field(default_factory=dict, compare=False)
    readers: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)


def recorded(graph: fx.Graph, layers: Mapping[str, int], activations: Mapping[str, int]) -> Policy:
    """Take over a policy that was written down, so that a file stays right when the rules have changed.

    Args:
        graph: A folded graph.
        layers: Bits by module path.
        activations: Bits by node name.

    Raises:
        CheckpointError: It names something that the graph has not, or that cannot be quantized.
    """
    known = {str(node.target) for node in graph.nodes if is_weight_layer(node)}
    values = {node.name for node in graph.nodes if node.op not in ("get_attr", "output")}
    for name, bits in [*layers.items(), *activations.items()]:
        if not 2 <= bits <= 8:
            raise CheckpointError(f"{name} has {bits} bits; 2 to 8 are possible")
    if strange := [*(set(layers) - known), *(set(activations) - values)]:
        raise CheckpointError(f"{min(strange)} is quantized there, and is not a part of this network")
    return Policy(layers=dict(layers), activations=dict(activations))


def policy(graph: fx.Graph, bits: BitsConfig) -> Policy:
    """Decide the bits of every layer and activation.

    Args:
        graph: A folded graph.
        bits: The configured widths.

    Returns:
        The policy; entries of 32 bits are left out.

    Raises:
        ConfigError: A pattern of ``bits`` matches nothing.
    """
    found = reach(graph)
    ends = found.first | found.last
    own = _Own.of(found, bits)
    layers = {str(node.target): bits.weight for node in found.layers}
    if bits.boundary is not None:
        layers |= {str(node.target): max(bits.boundary, bits.weight) for node in found.layers if node in ends}
    if bits.weight == FLOAT_BITS:
        # With all other layers in floating point there is nothing for the boundary to differ from.
        layers = dict.fromkeys(layers, FLOAT_BITS)
    points = place(graph, found, {layer: _asked(layer, found, bits, own) for layer in found.layers})
    activations = {point.node.name: _width(point, found, bits, own) for point in points}
    image = {str(node.target) for point in points if point.sources == {IMAGE} for node in point.readers}
    for pattern in bits.activations:
        if image.issuperset(matching("bits.activations", pattern, layer_kinds(found))):
            raise ConfigError(
                f"bits.activations: {pattern!r} matches only layers that read the image, whose bits are "
                "bits.input"
            )
    read = {str(node.target): activations[point.node.name] for point in points for node in point.readers}
    return Policy(
        layers=_low(layers | own.layers),
        activations=_low(activations),
        reads={name: read.get(name, FLOAT_BITS) for name in layers},
        readers={point.node.name: tuple(str(node.target) for node in point.readers) for point in points},
    )


def left_out(graph: fx.Graph, bits: BitsConfig) -> list[Unquantized]:
    """List the layers that patterns keep in full precision.

    Args:
        graph: A folded graph.
        bits: The configured widths.

    Returns:
        The layers in the graph's order.

    Raises:
        ConfigError: A pattern matches nothing.
    """
    found = reach(graph)
    own, nodes = _Own.of(found, bits), {str(node.target): node for node in found.layers}
    return [
        Unquantized(name=name, reason=f"as {said_widths(bits)} asks", parameters=_parameters(nodes[name]))
        for name in nodes
        if own.layers.get(name) == FLOAT_BITS
    ]


def _parameters(layer: fx.Node) -> int:
    module = module_of(layer)
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class _Own:
    """What patterns ask of single layers.

    Attributes:
        layers: Weight bits by layer.
        reads: Bits of what a layer reads, by layer.
    """

    layers: dict[str, int]
    reads: dict[str, int]

    @classmethod
    def of(cls, found: Reach, bits: BitsConfig) -> "_Own":
        if not bits.patterned:
            return cls({}, {})
        kinds = layer_kinds(found)
        out = dict.fromkeys(excluded(bits, kinds), FLOAT_BITS)
        return cls(
            widths("bits.layers", bits.layers, kinds) | out,
            widths("bits.activations", bits.activations, kinds) | out,
        )


def layer_kinds(found: Reach) -> dict[str, frozenset[str]]:
    """Tell of what kinds each layer is.

    Args:
        found: From `mrecg.quant.placement.reach`.

    Returns:
        Kinds by layer name, in the graph's order.
    """
    return {
        str(node.target): kinds_of(node)
        | {kind for kind, those in (("first", found.first), ("last", found.last)) if node in those}
        for node in found.layers
    }


def _asked(layer: fx.Node, found: Reach, bits: BitsConfig, own: _Own) -> tuple[int, bool]:
    """How fine a grid a layer may read; the boundary's counts as finer even with equal bits."""
    last = bits.boundary is not None and layer in found.last
    asked = own.reads.get(str(layer.target))
    return (asked or (_high(bits) if last else bits.activation), asked is None and last)


def _high(bits: BitsConfig) -> int:
    """Bits of an activation at the boundary."""
    return bits.activation if bits.boundary is None else max(bits.boundary, bits.activation)


def _width(point: Point, found: Reach, bits: BitsConfig, own: _Own) -> int:
    """Bits of an activation; where layers ask for different ones, the fewest.

    What a pattern asks counts before the rules; full precision is only where no reader needs a grid.
    """
    asked = [own.reads[str(node.target)] for node in point.readers if str(node.target) in own.reads]
    if point.sources == {IMAGE}:
        out = [own.layers.get(str(node.target)) == FLOAT_BITS for node in point.readers]
        return FLOAT_BITS if all(out) else bits.input
    if low := [width for width in asked if width < FLOAT_BITS]:
        return min(low)
    readers = [node for node in point.readers if str(node.target) not in own.reads]
    if not readers or bits.activation == FLOAT_BITS:
        return FLOAT_BITS
    if point.sources <= found.first:  # the stem's output
        if bits.stem_output == _STEM_BITS:
            return _STEM_BITS
        if bits.stem_output == "high":
            return _high(bits)
    return min(_high(bits) if reader in found.last else bits.activation for reader in readers)


def _low(bits: dict[str, int]) -> dict[str, int]:
    return {name: width for name, width in bits.items() if width < FLOAT_BITS}
