"""The floor of a group's loss: what the group inherits from the units before it, and is not its own fault."""

from collections.abc import Sequence

import torch
from torch import nn

from mrecg.reconstruct.cache import GroupCache
from mrecg.reconstruct.loss import reconstruction_loss

FLOOR_IMAGES = 256
"""The floor is taken on the first so many images, at most."""
STEP_SHARE = 25
"""And on no more than this fraction of the images that the group's steps see, so that it costs a short run
less than a hundredth of its time; one batch it is always."""


@torch.no_grad()
def loss_floor(units: Sequence[nn.Module], learned: GroupCache, *, batch: int, seen: int) -> float:
    """Compute the loss that a group would have in full precision behind the quantized prefix.

    Training may go below it, because the group can correct part of what it inherits. Nothing is drawn and
    nothing is changed.

    Args:
        units: The group's full-precision units in order.
        learned: What the group learns from; N images.
        batch: Images a forward pass, at most.
        seen: Images that all steps of the group see together.

    Returns:
        The reconstruction loss on the first images, weighted as the group's own.
    """
    batch = min(batch, FLOOR_IMAGES)
    most = max(batch, min(FLOOR_IMAGES, seen // STEP_SHARE))
    # Whole batches only, as the target was made: a convolution may round other batch sizes otherwise.
    images = min(most // batch * batch, learned.quantized.images)
    total = 0.0
    for index in torch.split(torch.arange(images), batch):
        out = learned.quantized.take(index)
        for unit in units:
            out = unit(out)
        weight = None if learned.weight is None else learned.weight.take(index)
        total += len(index) * float(reconstruction_loss(out, learned.target.take(index), weight))
    return total / images
