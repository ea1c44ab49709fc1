"""How many activations of each unit stand at the ends of their grids, or lay beyond, counted on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.quant.modules import ActivationQuantizer, activations_of
from mrecg.quant.quantized_network import QuantizedNetwork

RANGES = {
    "bits": "The bit widths of the unit's activations, each once, in rising order.",
    "at_bottom": "The fraction of its activations that are the lowest integer of their grid. After a ReLU "
    "that is zero, and nothing is lost.",
    "at_top": "The fraction of its activations that are the highest integer of their grid.",
    "clipped_bottom": "The fraction of its activations that lay more than half a step below their grid.",
    "clipped_top": "The fraction of its activations that lay more than half a step above their grid.",
}
"""What summary.json says of the activations of a unit."""
_SHARES = tuple(RANGES)[1:]
_EVERY = 4
"""Of so many images of a batch one is counted: that is little work beside the pass, and shares need few."""


class ActivationRanges:
    """Counts activations of a network against their grids.

    Args:
        network: A network whose quantized units run while this is `watching`.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        self._quantizers = {
            unit.name: found
            for unit, module in zip(network.units, network.low, strict=True)
            if (found := activations_of(module))
        }
        self._counts: dict[str, Tensor] = {}
        self._seen = dict.fromkeys(self._quantizers, 0)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what enters the quantizers within a ``with`` block."""
        hooks = [
            quantizer.register_forward_pre_hook(partial(self._count, name))
            for name, found in self._quantizers.items()
            for quantizer in found
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _count(self, name: str, quantizer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(quantizer, ActivationQuantizer)
        x = inputs[0][::_EVERY]
        self._counts[name] = self._counts.get(name, 0) + _at_ends(x, quantizer)
        self._seen[name] += x.numel()

    @property
    def found(self) -> dict[str, dict[str, Any]]:
        """By the name of the unit, values by the keys of `RANGES`; units that saw nothing have no entry."""
        return {
            name: {
                "bits": sorted({quantizer.bits for quantizer in self._quantizers[name]}),
                **{
                    key: round(count / self._seen[name], 6)
                    for key, count in zip(_SHARES, counts.tolist(), strict=True)
                },
            }
            for name, counts in self._counts.items()
        }


def _at_ends(x: Tensor, quantizer: ActivationQuantizer) -> Tensor:
    """Count values at the ends of a grid and beyond, in the order of the shares."""
    x = x.to(quantizer.scale.dtype).clamp(*quantizer.bounds)

    def border(place: float) -> Tensor:
        return (place - quantizer.zero_point) * quantizer.scale

    top = quantizer.top
    ends = x <= border(0.5), x >= border(top - 0.5), x < border(-0.5), x > border(top + 0.5)
    return torch.stack([end.count_nonzero() for end in ends])  # far faster than a sum of them
