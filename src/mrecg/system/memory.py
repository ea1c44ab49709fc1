"""Memory: what is left of it, and the most that was in use."""

import os
import resource
import sys
from pathlib import Path

import torch

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Files in which Linux gives the limits of a container."""


def available_memory(device: torch.device) -> int:
    """Memory that can still be taken without harm.

    Args:
        device: A GPU or the CPU.

    Returns:
        Bytes; on the CPU no more than a container's own limit leaves.
    """
    if device.type == "cuda":
        spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + spare)
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = Path("/proc/meminfo")
    if memory.is_file():
        for line in memory.read_text().splitlines():
            if line.startswith("MemAvailable"):
                free = int(line.split()[1]) * 1024
    return min(free, _left_in_container())


def _left_in_container() -> int:
    """Bytes that the control group leaves (version 2, then 1); very many without a limit."""
    old = CONTROL_GROUP / "memory"
    for limit, used in (
        (CONTROL_GROUP / "memory.max", CONTROL_GROUP / "memory.current"),
        (old / "memory.limit_in_bytes", old / "memory.usage_in_bytes"),
    ):
        if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
            facts = dict(line.split() for line in (limit.parent / "memory.stat").read_text().splitlines())
            # Pages of files that no process maps are counted as used, but given away when memory is needed.
            kept = int(used.read_text()) - int(facts.get("inactive_file", 0))
            return max(int(most) - max(kept, 0), 0)
    return sys.maxsize


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of the peak, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: sets the high-water mark to what is in use now
    except OSError:
        return  # the peak then covers the whole process, which the caller cannot change


def peak_memory_mb(device: torch.device) -> int:
    """Largest memory in use since `reset_peak_memory`, in MB: the GPU's, or the process's resident set.

    Returns:
        Mebibytes.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
