"""What a helper process builds the tiny network with; it must be possible to import it there."""

import os
import signal

import tiny_net
import torch
from torch import Tensor, nn

from mrecg.config.schema import BitsConfig
from mrecg.graph.fold import UNFOLDED
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.quant.quantized_network import QuantizedNetwork


class OfAnyType(QuantizedNetwork):
    """Takes the type of the state that it gets, so that one process serves tests in float32 and float64."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become float32 or float64, and take over the state."""
        dtype = next(value.dtype for value in state.values() if value.is_floating_point())
        for module in (*self.full, *self.low, self.model, *self.traced.meta[UNFOLDED].values()):
            module.to(dtype)
        super().load_state(state)


class Builder:
    """Builds it with given weights.

    Args:
        weights: The state of the tiny network.
        bits: Bit widths.
    """

    def __init__(self, weights: dict[str, Tensor], bits: BitsConfig) -> None:
        self.weights, self.bits = weights, bits

    def __call__(self) -> QuantizedNetwork:
        """Build the network; its second unit ends the process where an image holds nothing but 666."""
        model = tiny_net.build()
        model.load_state_dict(self.weights)
        traced = trace(model.eval()).graph
        network = OfAnyType(traced, partition(traced), self.bits).to(torch.device("cpu"))
        network.full[0].register_forward_pre_hook(_die)
        return network


def _die(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if bool((inputs[0] == 666).all()):
        os.kill(os.getpid(), signal.SIGKILL)
