"""Selection of the layers and activations that are quantized, and their bits.

Where quantizers stand: see `mrecg.quant.placement`. The network's input is quantized only where
``bits.input`` asks for it, after any fixed preprocessing the network begins with.

Source: BRECQ arXiv 2102.05426 and QDrop arXiv 2203.05740, section "implementation details".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from mrecg.config.schema import FLOAT_BITS, BitsConfig
from mrecg.errors import CheckpointError
from mrecg.graph.ops import is_weight_layer
from mrecg.quant.placement import IMAGE, Point, Reach, place, reach

_STEM_BITS = 8
"""The number that ``bits.stem_output`` takes besides its words."""


@dataclass(frozen=True)
class Policy:
    """Bits of everything that is quantized.

    Attributes:
        layers: Weight bits by module path; a path that is missing is not quantized.
        activations: Bits by the name of the node whose value is quantized, in the graph's order.
    """

    layers: dict[str, int]
    activations: dict[str, int]


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
    """
    found = reach(graph)
    ends = found.first | found.last
    layers = {str(node.target): bits.weight for node in found.layers}
    if bits.boundary is not None:
        layers |= {str(node.target): max(bits.boundary, bits.weight) for node in found.layers if node in ends}
    finer = found.last if bits.boundary is not None else frozenset[fx.Node]()
    activations = {point.node.name: _width(point, found, bits) for point in place(graph, found, finer)}
    # With all other layers in floating point there is nothing for the boundary to differ from.
    return Policy(layers=_low(layers) if bits.weight < FLOAT_BITS else {}, activations=_low(activations))


def _width(point: Point, found: Reach, bits: BitsConfig) -> int:
    """Bits of an activation; where layers ask for different ones, the fewest."""
    if point.sources == {IMAGE}:
        return bits.input
    if bits.activation == FLOAT_BITS:
        return FLOAT_BITS
    high = bits.activation if bits.boundary is None else max(bits.boundary, bits.activation)
    if point.sources <= found.first:  # the stem's output
        if bits.stem_output == _STEM_BITS:
            return _STEM_BITS
        if bits.stem_output == "high":
            return high
    return min(high if reader in found.last else bits.activation for reader in point.readers)


def _low(bits: dict[str, int]) -> dict[str, int]:
    return {name: width for name, width in bits.items() if width < FLOAT_BITS}
