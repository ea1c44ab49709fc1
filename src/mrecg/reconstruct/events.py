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
        name: Its name, see `mrecg.planner.schedule.group_name`.
        task: Name of the method's pass.
        steps: Optimisation steps taken.
        seconds: Wall time, the advance of the cache included.
        curve: The logged points.
        floor: The loss of the group in full precision after the quantized prefix, see
            `mrecg.reconstruct.loss_floor`; None where nothing was optimised.
        reused: Whether another run had optimised it before: its seconds were spent there.
        retries: How often it began again with half the learning rates, because its loss had diverged.
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
        name: Its name, see `mrecg.planner.schedule.group_name`.
        members: Its units in order.
        task: Name of the method's pass.
        steps: Optimisation steps, those of corrections included; 0 where nothing is learned.
        cost: Time of a step relative to other groups', see `mrecg.planner.budget.step_cost`.
        trial: Whether its outcome may be taken back once it is measured: that of a pair that is only tried,
            or of a merge that held-out images judge. Then the group's units come before it, one by one.
    """

    name: str
    members: tuple[str, ...]
    task: str
    steps: int
    cost: float
    trial: bool = False


class Listener(Protocol):
    """Whoever wants to follow a reconstruction: progress displays and trackers."""

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Before anything else: what lies ahead, pass by pass, in the order in which it will be done."""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """A pass begins: the names of its groups, and its optimisation steps in all."""

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """The steps of a group begin; corrections, where a method has them, are told of by `curve` before."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """A chunk of ``steps`` steps of a group is done; the points logged in it."""

    def unit(self, index: int, result: UnitResult) -> None:
        """A unit is hardened and measured."""

    def judged(self, verdict: Verdict) -> None:
        """A merge was judged; the groups that are kept are told of next."""

    def finished(self, result: GroupResult) -> None:
        """A group is through a pass, and its units are measured; also one that had nothing to learn."""

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Another ``steps`` steps of the finishing of the whole network are done; the points in them."""


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
    """Base class of a user's own listeners: define the methods of the events that matter.

    Whatever a method raises ends the run. What is tried and taken back, such as a merge that held-out images
    were against, is not told of; its groups come once they are kept.
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
