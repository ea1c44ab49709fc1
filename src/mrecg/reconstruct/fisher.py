"""The Fisher-weighted loss: how much the network's prediction depends on each element of a group's output."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.loss import prediction_difference

PUBLISHED_BATCH = 32
"""Images over whose number the published code averages the divergence before it takes the gradient; also the
images of a pass here, because a pass keeps what the gradient of the whole rest of the network needs."""
DAMPING = 1.0
"""What the published code adds to the gradient's magnitude."""


def fisher_weights(
    units: Sequence[nn.Module],
    tail: Sequence[nn.Module],
    *,
    entering: Store,
    target: Store,
    cache: Cache,
) -> Store:
    """Weigh each square of a group's reconstruction loss.

    Args:
        units: The group's quantized units in order, before their optimisation.
        tail: The full-precision units after them in order.
        entering: Output of the quantized prefix, shape (N, ...).
        target: Full-precision output of the group, shape (N, C, ...).
        cache: Keeps the weights.

    Returns:
        ``(|g| + 1)^2`` of the shape of ``target``; g is the gradient of the KL divergence of an image's
        prediction, divided by 32, at the group's quantized output.

    Source:
        BRECQ, arXiv 2102.05426, section 3.2 (the diagonal Fisher information), as its published code has it.
    """
    return cache.write(_weights(units, tail, entering, target), target.images)


def _weights(
    units: Sequence[nn.Module], tail: Sequence[nn.Module], entering: Store, target: Store
) -> Iterator[Tensor]:
    for x, full in zip(*(store.batches(PUBLISHED_BATCH) for store in (entering, target)), strict=True):
        with torch.no_grad():
            out = nn.Sequential(*units)(x)
            reference = nn.Sequential(*tail)(full)
        with torch.enable_grad():
            out = out.detach().requires_grad_()
            difference = prediction_difference(nn.Sequential(*tail)(out), reference)
            (gradient,) = torch.autograd.grad(difference * (len(x) / PUBLISHED_BATCH), out)
        yield (gradient.abs() + DAMPING).square()
