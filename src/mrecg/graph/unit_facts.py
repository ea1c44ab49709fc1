"""Facts about a unit for the planner: plain numbers, no tensors."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One weight layer.

    Attributes:
        name: The path of the layer, for example ``layer1.0.conv1``.
        weights: The number of weights, without the bias.
        stride: The largest stride; 1 for a linear layer.
        kernel: The kernel size; empty for a linear layer.
        kind: The kind of layer: ``dense``, ``grouped``, ``depthwise`` or ``linear``.
        macs: The multiply-accumulates of a forward pass per image; 0 where the shapes are not known.
    """

    name: str
    weights: int
    stride: int
    kernel: tuple[int, ...]
    kind: str
    macs: int = 0


@dataclass(frozen=True, kw_only=True)
class UnitFacts:
    """One unit, in network order.

    Attributes:
        name: The path of the unit.
        layers: The weight layers in order.
        residual: Whether the unit holds a join (add, multiply or concatenation).
        stage: The number of its stage, from 0. A stage is a run of units at one resolution, below one parent
            module.
        activations: The elements per image of its input and of the outputs of all its operations, which is
            about what a backward pass through it keeps; 0 where the shapes are not known.
    """

    name: str
    layers: tuple[LayerFacts, ...]
    residual: bool
    stage: int = 0
    activations: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of its weight layers in a forward pass, per image."""
        return sum(layer.macs for layer in self.layers)
