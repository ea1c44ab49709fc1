"""Precision of float32: by default cuDNN computes its convolutions in TF32, with 10 of 23 bits of mantissa.

Source: torch's documentation, "Numerical accuracy" and "CUDA semantics" (``fp32_precision``, from torch 2.9).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter

import torch

from mrecg.errors import ConfigError

FLAGS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv")
"""Below torch.backends: what has a ``fp32_precision`` of its own and is computed with here. cuDNN's two go
together, because older flags of torch cannot be read while they differ."""
AMPERE = (8, 0)
"""Compute capability of the first GPUs that have TF32."""


def float32_flags() -> dict[str, str]:
    """Tell how torch computes with float32 now.

    Returns:
        By name below ``torch.backends``: ``ieee`` (also what torch calls ``none``), ``tf32`` or ``bf16``.
    """
    return {flag: _backend(flag).fp32_precision.replace("none", "ieee") for flag in FLAGS}


@contextmanager
def float32_as(precision: int | str) -> Iterator[None]:
    """Let torch compute with float32 as the run's precision says, and not as the process has chosen.

    Args:
        precision: ``tf32``; else all bits (bf16 says how some layers are optimised: the others have all).

    Yields:
        Nothing; after the ``with`` block everything is as it was.
    """
    before, older = {flag: _backend(flag).fp32_precision for flag in FLAGS}, _older()
    tf32 = precision == "tf32"
    try:
        _set_older("high" if tf32 else "highest", tf32)
        for flag in FLAGS:  # on the CPU TF32 is not offered: few processors have it
            _backend(flag).fp32_precision = "tf32" if tf32 and not flag.startswith("mkldnn") else "ieee"
        yield
    finally:
        _set_older(*older)
        for flag, value in before.items():
            _backend(flag).fp32_precision = value


def _older() -> tuple[str | None, bool | None]:
    """Read the older flags for products of matrices and for cuDNN; None where torch cannot tell."""
    matmul, cudnn = None, None
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        cudnn = torch.backends.cudnn.allow_tf32
    return matmul, cudnn


def _set_older(matmul: str | None, cudnn: bool | None) -> None:
    """Set the older flags, too: Lightning reads them, and torch refuses where they contradict the newer."""
    if matmul is not None:
        torch.set_float32_matmul_precision(matmul)
    if cudnn is not None:
        torch.backends.cudnn.allow_tf32 = cudnn


def refuse_precision(precision: int | str, device: torch.device) -> None:
    """Refuse a precision that a device does not have, instead of computing in another.

    Raises:
        ConfigError: TF32 is asked for where there is none.
    """
    if precision == "tf32" and not has_tf32(device):
        raise ConfigError(
            f"precision: {device} has no tf32 (GPUs by NVIDIA have it, from Ampere on); take precision=32"
        )


def has_tf32(device: torch.device) -> bool:
    """Return whether a device can compute in TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def _backend(flag: str) -> "torch.backends.cuda.cuBLASModule":
    found: torch.backends.cuda.cuBLASModule = attrgetter(flag)(torch.backends)
    return found
