"""Description of the machine, for environment.json."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mrecg.system.devices import processor
from mrecg.system.redaction import without_secrets
from mrecg.system.tf32 import float32_flags
from mrecg.system.variables import COMMAND

PACKAGES = ("mrecg", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "numba")
COULD_DIFFER = (
    "the same configuration gives the same bits; other bits could come from another number of threads or "
    "devices, another processor or GPU, and other versions of mrecg, torch, numpy or numba"
)
"""Remark in environment.json about repeating the run."""

_VERSION = "The installed version of the package; null if it is not installed."
FACTS = {
    **dict.fromkeys(PACKAGES, _VERSION),
    "python": "The version of Python.",
    "platform": "The operating system.",
    "device": "The device that the run used, for example `cpu` or `cuda:0`.",
    "devices": "How many such devices shared the run.",
    "device_name": "The name of the processor or GPU.",
    "threads": "CPU threads of torch.",
    "float32": "How torch computes with float32, by the part of torch: `ieee` (all bits), `tf32` or `bf16`.",
    "memory_mb": "The memory of the machine, MB.",
    "could_differ": "A sentence on what could give other bits when the run is repeated.",
    "command": "The command line, without passwords in URLs.",
}
"""The keys of environment.json, and what they mean."""


def installed(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(device: torch.device, devices: int = 1) -> dict[str, Any]:
    """Describe the machine for environment.json.

    Args:
        devices: How many such devices.

    Returns:
        Values by the keys of `FACTS`.
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
