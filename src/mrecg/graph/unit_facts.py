"""Facts about a unit for the planner: plain numbers, no tensors."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One weight layer.

    Attributes:
        name: Module path, for example ``layer1.0.conv1``.
        weights: Number of weights (without the bias).
        stride: Largest stride; 1 for a linear layer.
        kernel: Kernel size; () for a linear layer.
        kind: ``dense``, ``grouped``, ``depthwise`` or ``linear``.
        macs: Multiply-accumulates of a forward pass, per image; 0 where the shapes are not known.
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
        name: Module path of the unit.
        layers: Its weight layers in order.
        residual: Whether the unit holds a join (add, multiply or concatenation).
        stage: Number of its stage, from 0: a run of units at one resolution, below one parent module.
        activations: Elements per image of its input and of the outputs of all its operations, which is about
            what a backward pass through it keeps; 0 where the shapes are not known.
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
