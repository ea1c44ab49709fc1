"""Choice of the fused kernels."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

log = logging.getLogger(__name__)
_on: ContextVar[bool] = ContextVar("fused kernels", default=True)


@contextmanager
def fused(on: bool) -> Iterator[None]:
    """Choose between the fused kernels and plain torch operations inside the ``with`` block.

    Args:
        on: Whether the kernels are used where there is one; without, torch computes the same more slowly.
    """
    token = _on.set(on)
    try:
        yield
    finally:
        _on.reset(token)


def serving(*tensors: Tensor) -> Literal["numba", "triton"] | None:
    """Tell which kernels take these tensors.

    Args:
        tensors: At least one.

    Returns:
        Numba's for float32 on the CPU, Triton's for float32 on a GPU where Triton runs; None where torch
        computes: for all else, and while the kernels are switched off.
    """
    if not _on.get():
        return None
    if all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors):
        return "numba"
    if all(t.is_cuda and t.dtype == torch.float32 for t in tensors) and _runs(tensors[0].device):
        return "triton"
    return None


def serves(*tensors: Tensor) -> bool:
    """Return whether Numba's kernels take these tensors: float32, on the CPU, and not switched off."""
    return serving(*tensors) == "numba"


@cache
def triton_kernels() -> Any:
    """The module ``gpu``, imported when first asked for: without a GPU Triton may be missing."""
    from mrecg.quant.kernels import gpu

    return gpu


@cache
def _runs(device: torch.device) -> bool:
    """Try a kernel: Triton may be missing, find no compiler for its launcher, or not know the GPU."""
    try:
        triton_kernels().soften(*(torch.zeros(16, device=device) for _ in range(4)))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        log.warning("no fused kernels on %s: Triton fails (%s: %s)", device, type(error).__name__, reason)
        return False
    return True
