"""Choice of devices: the one that a name means, and a GPU of its own for each of several jobs."""

import fcntl
import os
import platform
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

import torch

from mrecg.errors import ConfigError
from mrecg.system.variables import WORKERS


def resolve_device(name: str, devices: int = 1) -> torch.device:
    """Turn the configured device into one that is there.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        devices: How many work together.

    Returns:
        The device, or the first of several; for ``auto`` the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: A GPU is asked for that is not there, or more GPUs than there are.
    """
    if name == "auto" and torch.cuda.is_available():
        alone = int(os.environ.get(WORKERS, "1")) < 2 or torch.cuda.device_count() < 2
        name = "cuda" if alone else f"cuda:{claimed_gpu(torch.cuda.device_count())[0]}"
    device = torch.device("cpu" if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"trainer.device: {name} is not available ({torch.cuda.device_count()} GPUs found); "
            "choose auto or cpu"
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(
            f"trainer.devices: {devices} are requested, {torch.cuda.device_count()} GPUs found; "
            "take fewer, or trainer.device=cpu"
        )
    return device


@cache
def claimed_gpu(count: int) -> tuple[int, IO[str] | None]:
    """Claim a GPU that no other job on this machine has, for as long as this process lives.

    Args:
        count: GPUs of the machine.

    Returns:
        Its index, and the file that holds the claim. With more jobs than GPUs some share one: no file.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace(",", "-")
    for index in range(count):
        place = Path(tempfile.gettempdir(), f"mrecg-{os.getuid()}-gpu-{visible}-{index}.lock")
        file = place.open("a")  # open for as long as the claim lasts
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return index, file
    return os.getpid() % count, None


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
