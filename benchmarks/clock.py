"""Time on a machine that others use, too: things take turns, and medians are compared."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

Run = Callable[[], object]


def timed(run: Run, device: torch.device) -> float:
    """Run once and give the seconds, all work on the device included."""
    _wait(device)
    begin = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - begin


def interleaved(
    runs: Mapping[str, Run], *, rounds: int, warmup: int, device: torch.device
) -> dict[str, list[float]]:
    """Time several things in turn, so that a busy second of the machine hits all of them alike.

    Args:
        runs: What to time, by name; each round begins with another one.
        rounds: Rounds that count.
        warmup: Rounds before them that do not.
        device: Where the work is done.

    Returns:
        The seconds of every round, by name.
    """
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = timed(runs[name], device)
            if number >= 0:
                times[name].append(seconds)
    return times


def spread(values: Sequence[float]) -> float:
    """Third minus first quartile as a fraction of the median; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide what was timed in the same rounds."""
    return [a / b for a, b in zip(above, below, strict=True)]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
