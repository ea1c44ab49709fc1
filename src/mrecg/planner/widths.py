"""The bits of single layers, and how many each gets under a budget."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """Bits of one layer; 32: in full precision.

    Attributes:
        weight: Of its weights.
        input: Of what it reads.
    """

    weight: int
    input: int
