"""Errors of the units, and their activations against their grids, on images that nothing was learned from."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from mrecg.data.kept_batches import Batch
from mrecg.quant.activation_ranges import ActivationRanges
from mrecg.quant.quantized_network import QuantizedNetwork

LEAST = 256
"""Images that are enough: the error is a sum over all elements of a feature map."""


class NewImages:
    """Measures the units while the network is evaluated, on evenly spaced images among those of evaluation.

    It chooses nothing: it shows how much of what the units have learned holds for other images.

    Args:
        network: The quantized network.
        count: How many images there will be.
        device: Where the network is.
    """

    def __init__(self, network: QuantizedNetwork, count: int, device: torch.device) -> None:
        self._network, self._device = network, device
        self._every = max(1, count // LEAST)
        self._differences = torch.zeros(len(network.units), dtype=torch.float64)
        self._norms = torch.zeros_like(self._differences)
        self._ranges = ActivationRanges(network)

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Look at batches on their way.

        Args:
            batches: Those of the evaluation, in order.

        Yields:
            The same batches.
        """
        first = 0
        for images, labels in batches:
            some = images[(-first) % self._every :: self._every]
            if len(some):
                with self._ranges.watching():
                    self._add(some.to(self._device, memory_format=torch.channels_last))
            first += len(images)
            yield images, labels

    @torch.no_grad()
    def _add(self, images: Tensor) -> None:
        full = low = images
        for place, (unit, quantized) in enumerate(zip(self._network.full, self._network.low, strict=True)):
            full, low = unit(full), quantized(low)
            self._differences[place] += float((low - full).square().sum())
            self._norms[place] += float(full.square().sum())

    @property
    def errors(self) -> tuple[float, ...]:
        """Relative error after each unit, ``||quantized - FP||^2 / ||FP||^2``; none where no image came."""
        if not self._norms.any():
            return ()
        tiny = torch.finfo(torch.float64).tiny
        return tuple((self._differences / self._norms.clamp_min(tiny)).tolist())

    @property
    def ranges(self) -> dict[str, dict[str, Any]]:
        """How the activations of each unit lie on their grids; empty where no image came."""
        return self._ranges.found
