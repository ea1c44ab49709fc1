"""Progress of a reconstruction and prediction of the time left, as numbers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mrecg.planner.schedule import group_name
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import Ahead, CurvePoint, GroupResult, Silent

PATIENCE = 1.0
"""Seconds of optimisation before a time is predicted at all."""
SURE_GROUPS, SURE_SHARE = 3, 0.1
"""A prediction is trusted when so many groups, and this share of the work, have been measured."""


@dataclass
class Stretch:
    """One group while it is optimised.

    Attributes:
        begun: When the one before it was through, s.
        done: Steps taken.
        total: Steps of the optimisation itself; those of a correction come before them.
        floor: Of its loss; None until it is known.
        since: When its steps began, s; None before.
        losses: Step and reconstruction loss of every logged point.
    """

    ahead: Ahead
    begun: float
    done: int = 0
    total: int = 0
    floor: float | None = None
    since: float | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)

    @property
    def correcting(self) -> bool:
        """Return whether its activations are being corrected: its own steps have not begun."""
        return self.since is None

    @property
    def curve(self) -> list[tuple[float, float]]:
        """The losses by their place along the curve, 0 to 1."""
        return [(step / max(self.total, 1), loss) for step, loss in list(self.losses)]


class Course(Silent):
    """Follows a reconstruction of one or several passes.

    Time is predicted from what was measured in this run: the current group at its own seconds per step, all
    later ones at the mean seconds per step and cost (`Ahead.cost`) of those up to now.

    Args:
        clock: Gives the time, s.

    Attributes:
        passes: How many passes there are.
        number: The current pass, from 1.
        current: The group that is optimised; None between groups.
        units: Units in a pass.
        units_done: Units that are through in the current pass.
        steps: Optimisation steps of all passes.
        steps_done: Those that were taken.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.passes = self.number = self.units = self.units_done = self.steps = self.steps_done = 0
        self.current: Stretch | None = None
        self.begun = self._edge = self._told = clock()
        self._todo: list[Ahead] = []
        self._first: dict[str, Ahead] = {}
        self._kept: set[str] = set()
        self._place = 0
        self._weighs_steps = True
        self._work = self._spent = self._given = 0.0
        self._left: float | None = None

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Take note of what lies ahead."""
        self._todo = [ahead for groups in passes for ahead in groups]
        self.passes, self.steps = len(passes), sum(ahead.steps for ahead in self._todo)
        self._first = {ahead.name: ahead for ahead in passes[0]} if passes else {}
        self._weighs_steps = self.steps > 0
        self.units = sum(len(ahead.members) for ahead in passes[0] if not ahead.trial) if passes else 0
        self._edge = self._clock()

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Count the pass."""
        self.number, self.units_done = self.number + 1, 0

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """A group's own steps begin."""
        here = self._enter(name)
        here.total, here.floor, here.since = steps, floor, self._clock()

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Some steps are done."""
        here = self._enter(group)
        here.losses += [(point.step, point.reconstruction) for point in points]
        here.done += steps
        self.steps_done += steps
        self._predict()

    def judged(self, verdict: Verdict) -> None:
        """Both ways of a planned group are through; later passes follow the one that was kept."""
        if self.current is not None:
            self._leave()
        name = group_name(verdict.group)
        self._kept = {name} if verdict.kept else set(verdict.group)
        if not verdict.kept:
            later = [
                one
                for ahead in self._todo[self._place :]
                for one in (self._apart(ahead) if ahead.name == name else [ahead])
            ]
            self._todo[self._place :] = later
            self.steps = sum(ahead.steps for ahead in self._todo)
        self._predict()

    def _apart(self, ahead: Ahead) -> list[Ahead]:
        """What a group's units, one by one, will take in a later pass: in proportion to the first one."""
        whole = max(self._first[ahead.name].steps, 1)
        units = [self._first[name] for name in ahead.members]
        return [
            replace(unit, task=ahead.task, steps=round(ahead.steps * unit.steps / whole)) for unit in units
        ]

    def finished(self, result: GroupResult) -> None:
        """A group is through."""
        if result.name in self._kept:  # it was judged, and its time counted
            self._kept.discard(result.name)
            self.units_done += len(self._first[result.name].members)
            return
        here = self._enter(result.name)
        self.units_done += len(here.ahead.members)
        if result.reused:  # it took no time, which says nothing of the others
            self._given += self._weight(here.ahead)
            self._edge, self._place, self.current, self._left = self._clock(), self._place + 1, None, None
        else:
            self._leave()
        self._predict()

    @property
    def seconds(self) -> float:
        """Seconds since this was made."""
        return self._clock() - self.begun

    @property
    def left(self) -> float | None:
        """Seconds left; None where nothing was measured yet."""
        return None if self._left is None else max(0.0, self._left - (self._clock() - self._told))

    @property
    def sure(self) -> bool:
        """Return whether what is left was predicted from enough groups and work."""
        return self._place >= SURE_GROUPS and self.fraction >= SURE_SHARE

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1."""
        whole = sum(map(self._weight, self._todo))
        here = self.current
        done = self._work + self._given + (self._part(here) if here else 0.0)
        return min(1.0, done / whole) if whole else 0.0

    def _weight(self, ahead: Ahead) -> float:
        return ahead.steps * ahead.cost if self._weighs_steps else ahead.cost

    def _part(self, here: Stretch) -> float:
        return min(here.done, here.ahead.steps) * here.ahead.cost if self._weighs_steps else 0.0

    def _enter(self, name: str) -> Stretch:
        if self.current is not None and self.current.ahead.name == name:
            return self.current
        if self.current is not None:  # a trial, or to be judged: its end is not announced
            self._leave()
        while self._place < len(self._todo) - 1 and self._todo[self._place].name != name:
            self._place += 1
        ahead = self._todo[self._place]
        self.current = Stretch(ahead=ahead, begun=self._edge, total=ahead.steps)
        return self.current

    def _leave(self) -> None:
        assert self.current is not None
        now = self._clock()
        self._spent += now - self.current.begun
        self._work += self._weight(self.current.ahead)
        self._edge, self._place, self.current = now, self._place + 1, None

    def _predict(self) -> None:
        now, here = self._clock(), self.current
        spent = self._spent + (now - here.begun if here else 0.0)
        work = self._work + (self._part(here) if here else 0.0)
        if work <= 0 or spent < PATIENCE:
            return
        rate = spent / work
        later = sum(map(self._weight, self._todo[self._place + (here is not None) :]))
        left = later * rate
        if here is not None:
            open_steps = max(0, here.ahead.steps - here.done)
            own = None if here.since is None or not here.losses else (now - here.since) / _own_steps(here)
            left += open_steps * (here.ahead.cost * rate if own is None else own)
        self._left, self._told = left, now


def _own_steps(here: Stretch) -> int:
    """Steps of the optimisation itself up to now."""
    return max(1, here.done - (here.ahead.steps - here.total))
