"""Low-bit post-training quantization of CNNs without the oscillation.

``quantize``, ``resume``, ``plan``, ``sensitivity``, ``evaluate``, ``load``, ``export`` and ``read_runs`` are
the whole Python API; heavy imports happen on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mrecg.version import __version__

if TYPE_CHECKING:
    from mrecg.api.functions import evaluate, export, load, plan, quantize
    from mrecg.api.resuming import resume
    from mrecg.api.sensitivity import sensitivity
    from mrecg.formats.checkpoint import Quantized
    from mrecg.pipeline.result import Result
    from mrecg.planner.schedule import Plan
    from mrecg.reconstruct.events import Callback
    from mrecg.runs.frames import read_runs

__all__ = [
    "Callback",
    "Plan",
    "Quantized",
    "Result",
    "__version__",
    "evaluate",
    "export",
    "load",
    "plan",
    "quantize",
    "read_runs",
    "resume",
    "sensitivity",
]

_HOMES = {
    "quantize": "mrecg.api.functions",
    "plan": "mrecg.api.functions",
    "sensitivity": "mrecg.api.sensitivity",
    "evaluate": "mrecg.api.functions",
    "load": "mrecg.api.functions",
    "export": "mrecg.api.functions",
    "resume": "mrecg.api.resuming",
    "read_runs": "mrecg.runs.frames",
    "Callback": "mrecg.reconstruct.events",
    "Result": "mrecg.pipeline.result",
    "Plan": "mrecg.planner.schedule",
    "Quantized": "mrecg.formats.checkpoint",
}


def __getattr__(name: str) -> Any:
    # Importing mrecg must not import torch: the command line answers --help and completes words at once.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mrecg' has no attribute {name!r}")
