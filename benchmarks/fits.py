"""Whole fits of a unit: Lightning's share of them, and how soon the loss falls."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.clock import timed
from benchmarks.learning import learning, repeatable
from benchmarks.networks import Subject
from mrecg.config.methods import QDrop
from mrecg.quant.modules import quantization
from mrecg.reconstruct.engine import fit_in_chunks, quiet_lightning

STEPS, CHUNK = 200, 50
"""Steps of a fit in which Lightning's share is taken, and of a chunk, as in the default configuration."""
FRACTION, CAP, WINDOW = 0.7, 500, 10
"""The loss is to fall to this fraction of its first value, within so many steps; both are means over a
window of steps."""
RATE = 1e-2
"""Learning rate of the rounding there."""


def fit(subject: Subject, *, idle: bool = False) -> tuple[float, float]:
    """Fit a unit as a run does.

    Args:
        subject: The unit.
        idle: Leave the optimisation steps out: all that is left is Lightning's.

    Returns:
        Seconds of the fit, and those of its optimisation steps.
    """
    inside, device = 0.0, subject.device
    with learning(subject, steps=STEPS) as module, quiet_lightning(), repeatable():
        step: Callable[..., object] = module.step

        def counted(*args: Any, **kwargs: Any) -> None:
            nonlocal inside
            if not idle:
                inside += timed(lambda: step(*args, **kwargs), device)

        module.step = counted  # type: ignore[method-assign]
        whole = timed(lambda: fit_in_chunks(module, STEPS, CHUNK, device), device)
    return whole, inside


def share(subject: Subject, *, rounds: int) -> float:
    """Fraction of a unit's fit that is not spent in optimisation steps: the median of several fits."""
    fits = [fit(subject) for _ in range(rounds)]
    return statistics.median(1 - inside / whole for whole, inside in fits)


def steps_to_loss(subject: Subject) -> dict[str, Any]:
    """Optimise until the reconstruction loss has fallen.

    Args:
        subject: The unit.

    Returns:
        ``unit``, ``method``, ``lr_rounding``, ``fraction``, ``cap``; ``steps`` and ``seconds``, both null
        where the loss has not fallen that far.
    """
    losses: list[float] = []
    seconds = 0.0
    method = QDrop(lr_rounding=RATE)
    with learning(subject, steps=CAP, method=method) as module, repeatable():
        optimizer = module.configure_optimizers()

        def step() -> None:
            losses.append(float(module.step(len(losses), optimizer).reconstruction))

        with quantization(subject.low, activations="drop", drop=module.drop):
            while len(losses) < CAP and not fallen(losses):
                seconds += timed(step, subject.device)
    reached = fallen(losses)
    return {
        "unit": subject.name,
        "method": method.name,
        "lr_rounding": RATE,
        "fraction": FRACTION,
        "cap": CAP,
        "steps": len(losses) if reached else None,
        "seconds": seconds if reached else None,
    }


def fallen(losses: list[float]) -> bool:
    """Tell whether the mean over the last steps is down to `FRACTION` of that over the first ones."""
    return len(losses) > WINDOW and sum(losses[-WINDOW:]) <= FRACTION * sum(losses[:WINDOW])
