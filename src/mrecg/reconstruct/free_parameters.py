"""What a quantized network can still learn when its integers are fixed, at no cost for inference."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.quant.affine import dequantize
from mrecg.quant.modules import activations_of, layers_of
from mrecg.reconstruct.scales import PART


class FreeParameters:
    """The scales of weights and activations and the biases of a network, while they are learned.

    A scale of a weight is its first value times ``exp(factor)``: it stays positive, and the start is met
    exactly. Integers and zero points stay. The full-precision network keeps its own biases.

    Args:
        network: A quantized network with hard weights, in the state that learning begins with.
        config: Which of them are learned; all others stay, and are not among the attributes.
        spreads: Standard deviation of the output of each layer, see `mrecg.reconstruct.spread`.

    Attributes:
        factors: Logarithm of the factor on each layer's scale, in the scale's shape.
        biases: Those of the layers that have one, in order.
        scales: Of the activations.
    """

    def __init__(self, network: nn.Module, config: FinishConfig, spreads: Sequence[float]) -> None:
        layers, quantizers = layers_of(network), activations_of(network)
        self.layers = layers if config.weight_scales else []
        self.factors = [torch.zeros_like(layer.scale, requires_grad=True) for layer in self.layers]
        owned = [(layer.own_bias(), spread) for layer, spread in zip(layers, spreads, strict=True)]
        owned = owned if config.biases else []
        self.biases = [bias for bias, _ in owned if bias is not None]
        self._spreads = [spread for bias, spread in owned if bias is not None]
        self.scales: list[Tensor] = [q.scale for q in quantizers] if config.activation_scales else []
        self._begun = [layer.scale.clone() for layer in self.layers]
        self._sizes = [float(scale.detach()) for scale in self.scales]
        self._floors = [scale.detach() * PART for scale in self.scales]

    def __len__(self) -> int:
        return len(self.factors) + len(self.biases) + len(self.scales)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Let gradients reach everything; afterwards nothing has a gradient, and all weights are hard."""
        learned = [*self.biases, *self.scales]
        for tensor in learned:
            tensor.requires_grad_(True)
        try:
            yield
        finally:
            for tensor in learned:
                tensor.requires_grad_(False)
                tensor.grad = None
            for layer in self.layers:
                layer.soft = None

    def groups(self, rate: float) -> list[dict[str, object]]:
        """List what an optimiser learns.

        Args:
            rate: Largest change of a step: of a scale relative to its first value, of a bias relative to the
                spread of its layer's output.

        Returns:
            Its groups of parameters, each with a learning rate.
        """
        own = [(factor, 1.0) for factor in self.factors]
        own += zip(self.biases, self._spreads, strict=True)
        own += zip(self.scales, self._sizes, strict=True)
        return [{"params": [tensor], "lr": rate * size} for tensor, size in own]

    def lend(self) -> None:
        """Let the layers work with weights of the present factors, through which gradients flow."""
        for layer, begun, factor in zip(self.layers, self._begun, self.factors, strict=True):
            scale = layer.channels.spread(begun * factor.exp())
            zero = layer.channels.spread(layer.zero_point)
            layer.soft = dequantize(layer.integers.to(begun.dtype), scale, zero)

    def share(self, part: float) -> None:
        """Correct gradients of a part of a batch: those of activations were divided by the root of its size.

        Args:
            part: Its images over those of the batch.
        """
        for scale in self.scales:
            if scale.grad is not None:
                scale.grad.mul_(math.sqrt(part))

    @torch.no_grad()
    def settle(self) -> None:
        """Keep the scales of activations positive, and put the present factors into the hard weights."""
        self.keep_positive()
        for layer, begun, factor in zip(self.layers, self._begun, self.factors, strict=True):
            layer.scale.copy_(begun * factor.exp())
            layer.refresh()

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Keep the scales of activations above a small part of what they began with."""
        if self.scales:
            torch._foreach_clamp_min_(self.scales, self._floors)

    def kept(self) -> list[Tensor]:
        """Copy the values that the network has now."""
        return [value.detach().clone() for value in self._values()]

    @torch.no_grad()
    def restore(self, kept: Sequence[Tensor]) -> None:
        """Give the network values that it had.

        Args:
            kept: From `kept`.
        """
        for value, before in zip(self._values(), kept, strict=True):
            value.copy_(before)
        for layer in self.layers:
            layer.refresh()

    def _values(self) -> list[Tensor]:
        return [*(layer.scale for layer in self.layers), *self.biases, *self.scales]
