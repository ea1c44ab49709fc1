"""The losses that a group is optimised by: reconstruction, and prediction difference."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrecg.quant import kernels
from mrecg.quant.affine import from_memory_order, in_memory_order
from mrecg.quant.kernels.switch import serving, triton_kernels


class _FusedLoss(torch.autograd.Function):
    """Loss and gradient in one pass over both tensors."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, target: Tensor, fused: str) -> Tensor:
        positions = out.numel() // out.shape[1]
        flat, wanted = in_memory_order(out).detach(), in_memory_order(target).detach()
        grad = torch.empty_like(flat)
        ctx.grad, ctx.fused = from_memory_order(grad, out), fused
        if fused == "triton":
            mean: Tensor = triton_kernels().squared(flat, wanted, grad, factor=2 / positions) / positions
            return mean.to(out.dtype)
        total = kernels.loss.squared(flat.numpy(), wanted.numpy(), grad.numpy(), factor=2 / positions)
        return out.new_tensor(total / positions)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad: Tensor = ctx.grad
        # Whether the factor is 1 can be seen on the CPU only: on a GPU that would wait.
        return (grad if ctx.fused == "numba" and float(grads[0]) == 1 else grad * grads[0]), None, None


def reconstruction_loss(out: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error, summed over channels, mean over batch and space.

    Args:
        out: Shape (B, C, ...).
        target: Same shape.
        weight: Of each square, same shape; None: 1.

    Returns:
        One number.

    Source:
        BRECQ, arXiv 2102.05426, with the scale of its published code, to which lambda is tied.
    """
    if weight is not None:
        return ((out - target).square() * weight).sum(1).mean()
    fused = serving(out, target)
    if fused is not None:
        mean: Tensor = _FusedLoss.apply(out, target, fused)
        return mean
    return (out - target).square().sum(1).mean()


def prediction_difference(logits: Tensor, reference: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of two softened predictions, mean over the batch.

    Args:
        logits: Shape (B, classes).
        reference: Full-precision logits, same shape.
        temperature: Divides both.

    Returns:
        One number.

    Source:
        PD-Quant, arXiv 2212.07048, equation 6; without its factor.
    """
    softened = F.log_softmax(logits / temperature, 1)
    return F.kl_div(
        softened, F.log_softmax(reference / temperature, 1), reduction="batchmean", log_target=True
    )
