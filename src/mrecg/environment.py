"""What a run ran on: versions, device, memory."""

import fcntl
import os
import platform
import random
import resource
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from mrecg.allocator import recycling
from mrecg.config.schema import Precision, RunConfig
from mrecg.errors import ConfigError
from mrecg.kernels.switch import fused
from mrecg.redaction import without_secrets
from mrecg.tf32 import float32_as, float32_flags, refuse_precision
from mrecg.variables import COMMAND, WORKERS

PACKAGES = ("mrecg", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "numba")
COULD_DIFFER = (
    "the same configuration gives the same bits; other bits could come from another number of threads or "
    "devices, another processor or GPU, and other versions of mrecg, torch, numpy or numba"
)
"""What environment.json says about repeating the run."""
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


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
            f"trainer.device: {name} is not there ({torch.cuda.device_count()} GPUs found); "
            "choose auto or cpu"
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(
            f"trainer.devices: {devices} are asked for, {torch.cuda.device_count()} GPUs found; "
            "take fewer, or trainer.device=cpu"
        )
    return device


def device_of(config: RunConfig) -> torch.device:
    """Find the device of a run.

    Args:
        config: The configuration.

    Returns:
        The device, or the first of several.

    Raises:
        ConfigError: It is not there, or does not compute as the run asks for.
    """
    device = resolve_device(config.trainer.device, config.trainer.devices)
    refuse_precision(config.precision, device)
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


def installed(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(device: torch.device, devices: int = 1) -> dict[str, Any]:
    """Describe the machine for environment.json.

    Args:
        device: Where the run takes place.
        devices: How many such devices.

    Returns:
        Versions, device, processor, threads and memory (MB).
    """
    return {
        **{package: installed(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "devices": devices,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "float32": float32_flags(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "could_differ": COULD_DIFFER,
        "command": os.environ.get(COMMAND) or _command(),
    }


def _command() -> str:
    """The words of this process, without the secrets of URLs."""
    return shlex.join(without_secrets(word) for word in (Path(sys.argv[0]).name, *sys.argv[1:]))


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def computing(*, threads: int | None, kernels: str, precision: Precision = 32) -> Iterator[None]:
    """Choose how torch computes inside the ``with`` block, and keep freed memory for reuse there.

    Args:
        threads: How many threads it uses; None: as it is, or its part where jobs share the machine.
        kernels: ``fused`` or ``plain``.
        precision: What float32 means; see `mrecg.tf32`.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    workers = int(os.environ.get(WORKERS, "1"))
    # Most engines say by OMP_NUM_THREADS how many threads each of their workers may use.
    part = processors() // workers if workers > 1 and "OMP_NUM_THREADS" not in os.environ else before
    torch.set_num_threads(threads or max(1, min(part, before)))
    try:
        with float32_as(precision), fused(kernels == "fused"), recycling(), keeping_draws():
            yield
    finally:
        torch.set_num_threads(before)


def computing_as(config: RunConfig) -> AbstractContextManager[None]:
    """Choose how torch computes as a configuration says.

    Args:
        config: The configuration.

    Returns:
        The context of `computing`.
    """
    trainer = config.trainer
    return computing(threads=trainer.threads, kernels=trainer.kernels, precision=config.precision)


@contextmanager
def keeping_draws() -> Iterator[None]:
    """Leave the global generators of torch, numpy and Python after the ``with`` block as they were before.

    Nothing here draws from them, but a DataLoader does when an iteration begins, and so may a data set.

    Yields:
        Nothing.
    """
    plain, arrays = random.getstate(), np.random.get_state()
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count()) if begun else ()
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)


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
