"""The floor of a group's loss: what the group inherits from the units before it, and is not its own fault."""

from collections.abc import Sequence

import torch
from torch import nn

from mrecg.reconstruct.loss import reconstruction_loss
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.rolling_cache import GroupCache

FLOOR_IMAGES = 256
"""The floor is taken on the first so many images, at most."""
STEP_SHARE = 25
"""And on no more than this fraction of the images that the group's steps see, so that it costs a short run
less than a hundredth of its time; one batch it is always."""


@torch.no_grad()
def loss_floor(
    units: Sequence[nn.Module], learned: GroupCache, *, batch: int, seen: int, shard: Shard | None = None
) -> float:
    """Compute the loss that a group would have in full precision after the quantized prefix.

    Training may go below it, because the group can correct part of what it inherits. Nothing is drawn and
    nothing is changed.

    Args:
        units: The group's full-precision units in order.
        learned: What the group learns from; N images.
        batch: Images a forward pass, at most.
        seen: Images that all steps of the group see together.
        shard: Which of all images the N are, where several processes share them.

    Returns:
        The reconstruction loss on the first images, weighted as the group's own.
    """
    batch = min(batch, FLOOR_IMAGES)
    most = max(batch, min(FLOOR_IMAGES, seen // STEP_SHARE))
    # Whole batches only, as the target was made: a convolution may round other batch sizes otherwise.
    own = learned.quantized.images
    images = min(most // batch * batch, own if shard is None else shard.images)
    count = images if shard is None else shard.before(images)
    total = 0.0
    for begin in range(0, count, batch):
        index = torch.arange(begin, min(begin + batch, own))
        out = learned.quantized.take(index)
        for unit in units:
            out = unit(out)
        weight = None if learned.weight is None else learned.weight.take(index)
        target, rows = learned.target.take(index), min(count - begin, batch)
        if rows < len(index):
            out, target, weight = out[:rows], target[:rows], None if weight is None else weight[:rows]
        total += rows * float(reconstruction_loss(out, target, weight))
    if shard is not None:
        (total,) = shard.ranks.total(total)
    return total / images
