"""The rolling cache: what enters a group, and what should leave it, for all calibration images.

It moves forward one unit at a time, so no prefix is ever run again. Tensors of images are held channels-last.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GroupCache:
    """What one group learns from; N images.

    Attributes:
        quantized: Output of the quantized prefix, shape (N, ...).
        full: Output of the full-precision prefix, same shape.
        target: Full-precision output of the group's last unit, shape (N, ...).
    """

    quantized: Tensor
    full: Tensor
    target: Tensor


def take(values: Tensor, index: Tensor) -> Tensor:
    """Pick images, keeping the channels-last order that plain indexing would lose.

    Args:
        values: Shape (N, ...).
        index: Shape (B,), integers.

    Returns:
        Shape (B, ...).
    """
    if values.dim() != 4:
        return values.index_select(0, index)
    return values.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)


@torch.no_grad()
def advance(unit: nn.Module, values: Tensor, *, batch: int) -> Tensor:
    """Run a unit over all images.

    Args:
        unit: The unit.
        values: What enters it, shape (N, ...).
        batch: Images a forward pass.

    Returns:
        What leaves it, shape (N, ...).
    """
    out = torch.cat([unit(x) for x in torch.split(values, batch)])
    return out.contiguous(memory_format=torch.channels_last) if out.dim() == 4 else out


@torch.no_grad()
def deviation(quantized: Tensor, full: Tensor, *, batch: int) -> tuple[float, float]:
    """Compare a quantized activation with its full-precision counterpart.

    Args:
        quantized: Shape (N, C, ...).
        full: Same shape.
        batch: Images compared at a time.

    Returns:
        The relative error ``||q - f||^2 / ||f||^2``, and the reconstruction loss: the squared error summed
        over channels, mean over images and space.
    """
    squared = norm = 0.0
    for q, f in zip(torch.split(quantized, batch), torch.split(full, batch), strict=True):
        squared += float((q - f).square().sum(dtype=torch.float64))
        norm += float(f.square().sum(dtype=torch.float64))
    positions = quantized.numel() // quantized.shape[1]
    return squared / max(norm, torch.finfo(torch.float64).tiny), squared / positions
