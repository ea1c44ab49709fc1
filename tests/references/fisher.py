"""BRECQ's weighted loss, arXiv 2102.05426, equation 10, as its published code has it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PUBLISHED_BATCH = 32
"""The code takes the gradient of the mean over a batch of this many images."""


def fisher_importance(out: Tensor, tail: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """(|g| + 1)^2, g the gradient of an image's KL(softmax(logits) || softmax(tail(out))) / 32 at out."""
    out = out.detach().requires_grad_()
    wanted, found = F.softmax(logits, dim=1), F.log_softmax(tail(out), dim=1)
    divergence = (wanted * (wanted.log() - found)).sum() / PUBLISHED_BATCH
    (gradient,) = torch.autograd.grad(divergence, out)  # an image's logits depend on its own output only
    return (gradient.abs() + 1) ** 2
