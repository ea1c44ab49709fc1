"""Low-bit post-training quantization of CNNs without the oscillation.

``quantize``, ``plan``, ``evaluate``, ``load`` and ``export`` are the whole Python API; heavy imports happen
on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrecg.api import evaluate, export, load, plan, quantize
    from mrecg.planner.schedule import Plan
    from mrecg.result import Result
    from mrecg.saved import Quantized

__version__ = "0.1.0"
__all__ = ["Plan", "Quantized", "Result", "__version__", "evaluate", "export", "load", "plan", "quantize"]

_HOMES = {
    "quantize": "mrecg.api",
    "plan": "mrecg.api",
    "evaluate": "mrecg.api",
    "load": "mrecg.api",
    "export": "mrecg.api",
    "Result": "mrecg.result",
    "Plan": "mrecg.planner.schedule",
    "Quantized": "mrecg.saved",
}


def __getattr__(name: str) -> Any:
    # Importing mrecg must not import torch: the command line answers --help and completes words at once.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mrecg' has no attribute {name!r}")
