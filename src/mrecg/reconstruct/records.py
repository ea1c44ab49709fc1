"""What a reconstruction reports: curves, unit errors, and the protocol of whoever listens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The losses at one optimisation step.

    Attributes:
        step: 0 to the group's steps - 1.
        reconstruction: Squared error, summed over channels, mean over batch and space.
        rounding: Regulariser times lambda; None while it is off.
        total: What was minimised.
        beta: Exponent of the regulariser; None while it is off.
        prediction: KL divergence of the predictions, times its factor; None where it does not count.
    """

    step: int
    reconstruction: float
    rounding: float | None
    total: float
    beta: float | None
    prediction: float | None = None


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """The quantized network measured behind one base unit, with all units up to there quantized and hardened.

    Attributes:
        name: The unit.
        group: Index of its group in the plan.
        error: ``||quantized - FP||^2 / ||FP||^2`` on the calibration images.
        loss: Reconstruction loss there: squared error summed over channels, mean over images and space.
    """

    name: str
    group: int
    error: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """How one group was optimised in one pass.

    Attributes:
        name: Its name, see `mrecg.planner.schedule.group_name`.
        task: Name of the method's pass.
        steps: Optimisation steps taken.
        seconds: Wall time, the advance of the cache included.
        curve: The logged points.
    """

    name: str
    task: str
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...]


class Listener(Protocol):
    """Whoever wants to follow a reconstruction: progress displays and trackers."""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """A pass begins: the names of its groups, and its optimisation steps in all."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """A chunk of ``steps`` steps of a group is done; the points logged in it."""

    def unit(self, index: int, result: UnitResult) -> None:
        """A unit is hardened and measured."""


class Silent:
    """A listener that does nothing; base class of those that want only some events."""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Ignore it."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Ignore it."""

    def unit(self, index: int, result: UnitResult) -> None:
        """Ignore it."""


class Broadcast:
    """Passes every event on to several listeners.

    Args:
        listeners: Whom to tell, in order.
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Tell everyone that a pass begins."""
        for listener in self.listeners:
            listener.begin(groups, steps)

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Tell everyone that a chunk is done."""
        for listener in self.listeners:
            listener.curve(group, task, points, steps)

    def unit(self, index: int, result: UnitResult) -> None:
        """Tell everyone that a unit is measured."""
        for listener in self.listeners:
            listener.unit(index, result)
