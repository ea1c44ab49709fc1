"""What a reconstruction reports: curves, unit errors, and the protocol of its listeners."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mrecg.planner.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The losses at one optimisation step.

    Attributes:
        step: The step, from 0.
        reconstruction: The squared error, summed over channels, mean over batch and space.
        rounding: The regulariser of the rounding times lambda; None while it is off.
        total: The sum that was minimised.
        beta: The exponent of the regulariser; None while it is off.
        prediction: The KL divergence of the predictions times its factor; None for methods without it.
    """

    step: int
    reconstruction: float
    rounding: float | None
    total: float
    beta: float | None
    prediction: float | None = None


@dataclass(frozen=True, kw_only=True)
class FinishPoint:
    """A point of the curve of the finishing of a whole network.

    Attributes:
        step: The number of steps taken before.
        loss: The mean loss of the steps since the previous point; None at the start.
        held_out: The loss on the held-out images; None where it was not measured.
    """

    step: int
    loss: float | None
    held_out: float | None


@dataclass(frozen=True, kw_only=True)
class Check(FinishPoint):
    """A point at which the held-out images were looked at."""

    held_out: float


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """The quantized network measured after one base unit, with all units up to there quantized and hardened.

    Attributes:
        name: The name of the unit.
        group: The index of its group in the plan, from 0.
        error: The relative error after it, ``||quantized - FP||^2 / ||FP||^2`` on the calibration images.
        loss: The reconstruction loss after it: squared error, summed over channels, mean over images and
            space.
    """

    name: str
    group: int
    error: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """How one group was optimised in one pass.

    Attributes:
        name: The name of the group: its units joined by "+".
        task: The name of the method's pass.
        steps: The number of optimisation steps taken.
        seconds: The wall time, the advance of the cache included.
        curve: The points of the curve.
        floor: The loss that the group would have in full precision after the quantized units before it; None
            where nothing was optimised.
        reused: Whether another run had optimised it before. Its seconds were spent there.
        retries: How often it began again with half the learning rates because its loss had diverged.
    """

    name: str
    task: str
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...]
    floor: float | None = None
    reused: bool = False
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """A group that a pass is going to optimise, or a pair that it is going to try.

    Attributes:
        name: The name of the group: its units joined by "+".
        members: The names of its units in order.
        task: The name of the method's pass.
        steps: The number of optimisation steps, those of corrections included; 0 where nothing is learned.
        cost: The time of a step relative to that of other groups.
        trial: Whether its result may be taken back once it is measured, because it is only a trial, or
            because held-out images decide on the merge. The group's units then come before it, one by one.
    """

    name: str
    members: tuple[str, ...]
    task: str
    steps: int
    cost: float
    trial: bool = False


class Listener(Protocol):
    """The events of a run, in the order in which they come."""

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Called before anything else: what lies ahead, pass by pass, in the order of the work."""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """A pass begins, with the names of its groups and the number of all its optimisation steps."""

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """The steps of a group begin. A method's corrections are reported by `curve` before."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Another ``steps`` steps of a group are done; ``points`` were logged in them."""

    def unit(self, index: int, result: UnitResult) -> None:
        """A unit has its final integers and is measured."""

    def judged(self, verdict: Verdict) -> None:
        """Held-out images have decided on a merge; the groups that are kept are reported next."""

    def finished(self, result: GroupResult) -> None:
        """A group has finished a pass, and its units are measured, also if there was nothing to learn."""

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Another ``steps`` steps of the finishing stage are done; ``points`` were logged in them."""


class Silent:
    """A listener that does nothing; base class of those that want only some events."""

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Ignore it."""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Ignore it."""

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Ignore it."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Ignore it."""

    def judged(self, verdict: Verdict) -> None:
        """Ignore it."""

    def unit(self, index: int, result: UnitResult) -> None:
        """Ignore it."""

    def finished(self, result: GroupResult) -> None:
        """Ignore it."""

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Ignore it."""


class Callback(Silent):
    """The base class of your own callbacks: define the methods of the events that you need.

    Whatever a method raises ends the run. What is tried and taken back, such as a merge that held-out images
    decide against, is not reported; groups are reported once they are kept.
    """


class Broadcast:
    """Passes every event on to several listeners.

    Args:
        listeners: Whom to tell, in order.
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Tell everyone what lies ahead."""
        for listener in self.listeners:
            listener.outline(passes)

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Tell everyone that a pass begins."""
        for listener in self.listeners:
            listener.begin(groups, steps)

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Tell everyone that the steps of a group begin."""
        for listener in self.listeners:
            listener.group(name, members, steps, floor)

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Tell everyone that a chunk is done."""
        for listener in self.listeners:
            listener.curve(group, task, points, steps)

    def judged(self, verdict: Verdict) -> None:
        """Tell everyone that a merge was judged."""
        for listener in self.listeners:
            listener.judged(verdict)

    def unit(self, index: int, result: UnitResult) -> None:
        """Tell everyone that a unit is measured."""
        for listener in self.listeners:
            listener.unit(index, result)

    def finished(self, result: GroupResult) -> None:
        """Tell everyone that a group is through."""
        for listener in self.listeners:
            listener.finished(result)

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Tell everyone that steps of the finishing are done."""
        for listener in self.listeners:
            listener.finishing(points, steps)
