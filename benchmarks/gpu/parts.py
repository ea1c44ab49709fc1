"""The parts of the check, and how they share the time."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Its name on the command line, of its module and of its file.
        says: What it measures.
        least: Seconds without which it is not begun.
        most: Seconds that it may take.
    """

    name: str
    says: str
    least: float
    most: float


PARTS = (
    Part("kernels", "every Triton kernel against plain torch", 20, 120),
    Part("same", "one run on the CPU and on the device, twice, and resumed", 30, 150),
    Part("jobs", "two processes on one device", 60, 150),
    Part("speed", "step / floor by kernels, CUDA graphs and precision; host syncs; memory", 40, 240),
    Part("passes", "calibration, cache, memory of a run", 15, 90),
    Part("accuracy", "EfficientNet-Lite0 with its real weights: methods, bits, merging", 60, 86_400),
)
"""In this order: what has to hold comes first, and what takes as long as one lets it comes last."""
START = 25.0
"""Seconds that a process takes to import everything, at most."""


def fitted(parts: Sequence[Part], seconds: float) -> list[tuple[Part, float]]:
    """Share the time among parts.

    Args:
        parts: In order of importance.
        seconds: For all of them, starts included.

    Returns:
        Those for which there is time, each with its limit in seconds. Where time is short the limits shrink
        alike, but not below what a part needs at least; the last parts are left out first.
    """
    chosen = list(parts)
    while chosen and sum(part.least + START for part in chosen) > seconds:
        chosen.pop()
    spare = seconds - sum(part.least + START for part in chosen)
    limits = []
    for i, part in enumerate(chosen):
        wishes = sum(min(other.most, seconds) - other.least for other in chosen[i:])
        wish = min(part.most, seconds) - part.least
        more = min(wish, spare * wish / wishes) if wishes else 0.0
        spare -= more
        limits.append((part, part.least + more))
    return limits
