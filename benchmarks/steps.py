"""The optimisation step of every unit against its floor."""

import copy
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import torch

from benchmarks.clock import Run, interleaved, ratios, spread
from benchmarks.learning import learning
from benchmarks.networks import BATCH, Subject
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import quantization
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.job import deterministic
from mrecg.reconstruct.loss import reconstruction_loss

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
PLANNED, AT = 10_000, 5_000
"""Steps of the fit, and the first one that is timed: the regulariser is on, as in most steps."""
WARMUP = 2


@dataclass(frozen=True, kw_only=True)
class UnitTimes:
    """One unit.

    Attributes:
        name: Of the unit.
        step_ms: One optimisation step, median, milliseconds.
        floor_ms: Forward, backward and fused Adam of the unit in full precision, median, milliseconds.
        floor_format: The memory order in which that was faster.
        plain_ms: The step with plain torch operations instead of the fused kernels; None: not measured.
        spread: Third minus first quartile of the step, as a fraction of the median.
        floor_spread: Likewise of the floor.
        ratio_spread: Likewise of step divided by floor, round by round.
        lightning_ms: Lightning's own time in a fit, see `benchmarks.fits`.
    """

    name: str
    step_ms: float
    floor_ms: float
    floor_format: str
    plain_ms: float | None
    spread: float
    floor_spread: float
    ratio_spread: float
    lightning_ms: float


@dataclass(frozen=True)
class Rounds:
    """Seconds of one unit, round by round; the floor in its faster memory order."""

    step: Sequence[float]
    floor: Sequence[float]
    floor_format: str
    plain: Sequence[float]


def floor_of(subject: Subject, order: torch.memory_format) -> Run:
    """Make the step that no method can do without.

    Args:
        subject: The unit; its weights are copied, and one batch is fetched once.
        order: Memory order of weights and images.

    Returns:
        Forward, backward and Adam on the copied weights.
    """
    cache = subject.cache
    own = copy.deepcopy(subject.full).requires_grad_(True).to(memory_format=order)
    x, target = (
        values.contiguous(memory_format=order) if values.dim() == 4 else values
        for values in (next(cache.full.batches(BATCH)), next(cache.target.batches(BATCH)))
    )
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        reconstruction_loss(own(x), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def step_of(module: GroupReconstruction) -> Run:
    """Make the step of a run; each call takes the next one."""
    optimizer, numbers = module.configure_optimizers(), count(AT)

    def step() -> None:
        with deterministic():
            module.step(next(numbers), optimizer)

    return step


def time_unit(subject: Subject, *, rounds: int, plain_rounds: int) -> Rounds:
    """Let the step and its floor in both memory orders take turns.

    Args:
        subject: The unit.
        rounds: Rounds that count.
        plain_rounds: Rounds of the step without fused kernels; may be 0.

    Returns:
        The seconds.
    """
    with learning(subject, steps=PLANNED) as module:
        step = step_of(module)
        runs = {"step": step} | {name: floor_of(subject, order) for name, order in FORMATS.items()}

        def plain() -> None:
            with fused(False):
                step()

        with quantization(subject.low, activations="drop", drop=module.drop):
            times = interleaved(runs, rounds=rounds, warmup=WARMUP, device=subject.device)
            warmup = 1 if plain_rounds else 0
            more = interleaved({"plain": plain}, rounds=plain_rounds, warmup=warmup, device=subject.device)
    best = min(FORMATS, key=lambda name: statistics.median(times[name]))
    return Rounds(times["step"], times[best], best, more["plain"])


def summary(name: str, rounds: Rounds, lightning: float) -> UnitTimes:
    """Sum a unit up.

    Args:
        name: Of the unit.
        rounds: Its seconds.
        lightning: Seconds of Lightning in a fit.

    Returns:
        Medians and spreads.
    """
    return UnitTimes(
        name=name,
        step_ms=1e3 * statistics.median(rounds.step),
        floor_ms=1e3 * statistics.median(rounds.floor),
        floor_format=rounds.floor_format,
        plain_ms=1e3 * statistics.median(rounds.plain) if rounds.plain else None,
        spread=spread(rounds.step),
        floor_spread=spread(rounds.floor),
        ratio_spread=spread(ratios(rounds.step, rounds.floor)),
        lightning_ms=1e3 * lightning,
    )


def overhead(units: Sequence[Rounds]) -> tuple[float, list[float]]:
    """Compare the steps of a whole network with their floors.

    Args:
        units: Its units, with equally many rounds.

    Returns:
        Sum of the medians of all steps over that of all floors; and the first and third quartile of the same
        ratio, taken round by round.
    """
    steps = zip(*(unit.step for unit in units), strict=True)
    floors = zip(*(unit.floor for unit in units), strict=True)
    each = ratios([sum(values) for values in steps], [sum(values) for values in floors])
    low, _, high = statistics.quantiles(each, n=4, method="inclusive")
    median = statistics.median
    return sum(median(u.step) for u in units) / sum(median(u.floor) for u in units), [low, high]
