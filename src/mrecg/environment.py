"""What a run ran on: versions, device, memory."""

import os
import platform
import resource
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mrecg.allocator import recycling
from mrecg.errors import ConfigError
from mrecg.kernels.switch import fused

PACKAGES = ("mrecg", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "numba")
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""
COMMAND = "MRECG_COMMAND"
"""Environment variable with the command line as it was typed; what Hydra and its launchers see is another."""


def resolve_device(name: str) -> torch.device:
    """Turn the configured device into one that is there.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        The device; for ``auto`` the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: A GPU is asked for that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"trainer.device: {name} is not there ({torch.cuda.device_count()} GPUs found); "
            "choose auto or cpu"
        )
    return device


def installed(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(device: torch.device) -> dict[str, Any]:
    """Describe the machine for environment.json.

    Args:
        device: Where the run takes place.

    Returns:
        Versions, device, processor, threads and memory (MB).
    """
    return {
        **{package: installed(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "command": os.environ.get(COMMAND) or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def computing(*, threads: int | None, kernels: str) -> Iterator[None]:
    """Choose how torch computes on the CPU inside the ``with`` block, and keep freed memory for reuse there.

    Args:
        threads: How many threads it uses; None: as it is.
        kernels: ``fused`` or ``plain``.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with fused(kernels == "fused"), recycling():
            yield
    finally:
        torch.set_num_threads(before)


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
            # Pages of files that nobody maps are counted as used, but given away when memory is needed.
            kept = int(used.read_text()) - int(facts.get("inactive_file", 0))
            return max(int(most) - max(kept, 0), 0)
    return sys.maxsize


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of the peak, where the system can.

    Args:
        device: Where the run takes place.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: sets the high-water mark to what is in use now
    except OSError:
        return  # the peak then covers the whole process, which the caller cannot change


def peak_memory_mb(device: torch.device) -> int:
    """Largest memory in use since `reset_peak_memory`, in MB: the GPU's, or the process's resident set.

    Args:
        device: Where the run takes place.

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
