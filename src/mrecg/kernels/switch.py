"""Whether fused kernels are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_on: ContextVar[bool] = ContextVar("fused kernels", default=True)


@contextmanager
def fused(on: bool) -> Iterator[None]:
    """Choose between the fused kernels and plain torch operations inside the ``with`` block.

    Args:
        on: Whether the kernels are used where there is one; without, torch computes the same more slowly.

    Yields:
        Nothing.
    """
    token = _on.set(on)
    try:
        yield
    finally:
        _on.reset(token)


def serves(*tensors: Tensor) -> bool:
    """Tell whether the kernels take these tensors: float32, on the CPU, and not switched off."""
    return _on.get() and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
