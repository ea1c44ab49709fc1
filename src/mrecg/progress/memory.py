"""Memory that the process has in use now."""

import os
from pathlib import Path

import torch

from mrecg.environment import peak_memory_mb

STATM = Path("/proc/self/statm")


def memory_in_use() -> tuple[float, float | None]:
    """Look how much memory is in use.

    Returns:
        MB of the process (where the system does not tell: its peak), and MB on the GPU; None where none is
        in use.
    """
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpu = torch.cuda.memory_allocated() / 2**20 if started else None
    if STATM.is_file():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, gpu
    return float(peak_memory_mb(torch.device("cpu"))), gpu
