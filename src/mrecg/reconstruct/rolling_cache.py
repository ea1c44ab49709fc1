"""The rolling cache: what enters a group, and what should leave it, for all calibration images.

It moves forward one unit at a time, so no prefix is ever run again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mrecg.quant import kernels
from mrecg.quant.affine import in_memory_order
from mrecg.quant.kernels.switch import serves
from mrecg.reconstruct.activation_cache import Cache, Grid, Store
from mrecg.reconstruct.ranks import Ranks


@dataclass(frozen=True)
class GroupCache:
    """What one group learns from; N images.

    Attributes:
        quantized: Output of the quantized prefix, shape (N, ...).
        full: Output of the full-precision prefix, same shape.
        target: Full-precision output of the group's last unit, shape (N, ...).
        weight: Of each square of the loss, shape of ``target``; None: 1.
        logits: Full-precision output of the network, shape (N, classes); None where it is not needed.
    """

    quantized: Store
    full: Store
    target: Store
    weight: Store | None = None
    logits: Store | None = None

    @property
    def at_hand(self) -> bool:
        """Whether all of it lies on the device that uses it."""
        stores = (self.quantized, self.full, self.target, self.weight, self.logits)
        return all(store is None or store.at_hand for store in stores)


@torch.no_grad()
def advance(unit: nn.Module, values: Store, cache: Cache, *, batch: int, grid: Grid | None = None) -> Store:
    """Run a unit over all images.

    Args:
        values: What enters it, shape (N, ...).
        cache: Keeps what leaves it.
        batch: Images a forward pass.
        grid: The grid on which the unit's output may stand.

    Returns:
        What leaves it, shape (N, ...).
    """
    out: Iterator[Tensor] = (unit(x) for x in values.batches(batch))
    return cache.write(out, values.images, grid=grid)


@torch.no_grad()
def deviation(
    quantized: Store, full: Store, *, batch: int, ranks: Ranks | None = None
) -> tuple[float, float]:
    """Compare a quantized activation with its full-precision counterpart.

    Args:
        quantized: Shape (N, C, ...).
        full: Same shape.
        batch: Images compared at a time.
        ranks: The processes whose images count together; None: this one alone.

    Returns:
        The relative error ``||q - f||^2 / ||f||^2``, and the reconstruction loss: the squared error summed
        over channels, mean over images and space.
    """
    squared = norm = 0.0
    for q, f in zip(quantized.batches(batch), full.batches(batch), strict=True):
        if serves(q, f):
            error, size = kernels.loss.deviation(in_memory_order(q).numpy(), in_memory_order(f).numpy())
        else:
            error = float((q - f).square().sum(dtype=torch.float64))
            size = float(f.square().sum(dtype=torch.float64))
        squared, norm = squared + error, norm + size
    positions: float = math.prod(quantized.shape) // quantized.shape[1]
    if ranks is not None:
        squared, norm, positions = ranks.total(squared, norm, positions)
    return squared / max(norm, torch.finfo(torch.float64).tiny), squared / positions
