"""Fused kernels: Numba's for the CPU, Triton's for CUDA; compiled when first used, then kept on disk.

For each kernel a plain torch function computes the same, on any device and in any floating type; tests
compare the two. Nothing here knows about networks: arrays in, arrays out. The modules of Numba's kernels are
imported on first use as attributes (``kernels.loss``), because a plan needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrecg.quant.kernels import activation, loss, ranges, rounding

__all__ = ["activation", "loss", "ranges", "rounding"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
