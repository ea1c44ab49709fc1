"""Memory that the process has in use now."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

STATM = Path("/proc/self/statm")


def memory_in_use() -> tuple[float, float | None]:
    """Look how much memory is in use.

    Returns:
        MB of the process (where the system does not tell: its peak), and MB on the GPU; None where none is
        in use.
    """
    torch: Any = sys.modules.get("torch")  # a command that only prints a table need not load it
    started = torch is not None and torch.cuda.is_initialized()
    gpu = torch.cuda.memory_allocated() / 2**20 if started else None
    if STATM.is_file():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, gpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10), gpu
