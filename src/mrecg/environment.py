"""What a run ran on: versions, device, memory."""

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mrecg.errors import ConfigError

PACKAGES = ("mrecg", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy")


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
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
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
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use this many CPU threads inside the ``with`` block.

    Args:
        count: How many; None: as it is.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
