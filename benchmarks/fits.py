"""Whole fits of a unit: Lightning's share of them."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.clock import timed
from benchmarks.learning import learning
from benchmarks.networks import Subject
from mrecg.reconstruct.job import deterministic
from mrecg.reconstruct.lightning_fit import fit_in_chunks

STEPS, CHUNK = 200, 50
"""Steps of a fit, and of a chunk as in the default configuration."""


def fit(subject: Subject, *, idle: bool = False) -> tuple[float, float]:
    """Fit a unit as a run does.

    Args:
        idle: Take the first optimisation step only, in the place of all.

    Returns:
        Seconds of the fit, and those of its optimisation steps; what lies between them is Lightning's.
    """
    inside, device = 0.0, subject.device
    done: list[object] = []
    with learning(subject, steps=STEPS) as module, deterministic():
        step: Callable[..., object] = module.step

        def counted(*args: Any, **kwargs: Any) -> object:
            nonlocal inside
            if not (idle and done):
                inside += timed(lambda: done.append(step(*args, **kwargs)), device)
            return done[-1]

        module.step = counted  # type: ignore[method-assign, assignment]
        whole = timed(lambda: fit_in_chunks(module, range(STEPS), CHUNK, device), device)
    return whole, inside


def lightning_seconds(subject: Subject, *, rounds: int) -> float:
    """Lightning's own time in a fit: the median of several idle ones."""
    fits = [fit(subject, idle=True) for _ in range(rounds)]
    return statistics.median(whole - inside for whole, inside in fits)


def share(subject: Subject, *, rounds: int) -> float:
    """Fraction of a unit's fit that is not spent in optimisation steps: the median of several fits."""
    fits = [fit(subject) for _ in range(rounds)]
    return statistics.median(1 - inside / whole for whole, inside in fits)
