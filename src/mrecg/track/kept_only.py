"""What is kept of a reconstruction: attempts that are taken back leave no curves."""

from collections.abc import Callable, Sequence
from functools import partial

from mrecg.planner.schedule import group_name
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import Ahead, Broadcast, CurvePoint, Listener


class KeptOnly(Broadcast):
    """Passes on what is kept, and holds a group back while it may still be taken back.

    Args:
        listeners: Whom to tell, in order.
    """

    def __init__(self, *listeners: Listener) -> None:
        super().__init__(*listeners)
        self._open: set[str] = set()
        self._held: dict[str, list[Callable[[], None]]] = {}

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        """Find the groups that will be judged: merges, and their units one by one."""
        super().outline(passes)
        tried = [ahead for groups in passes for ahead in groups if ahead.trial]
        inside = {name for ahead in tried for name in ahead.members}
        self._open = {ahead.name for groups in passes for ahead in groups if inside.issuperset(ahead.members)}

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Tell of a group, now or when it is kept."""
        self._tell(name, partial(super().group, name, members, steps, floor))

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Tell of a chunk, now or when its group is kept."""
        self._tell(group, partial(super().curve, group, task, points, steps))

    def judged(self, verdict: Verdict) -> None:
        """Tell of what is kept, and forget the rest."""
        super().judged(verdict)
        names = {group_name(verdict.group), *verdict.group}
        kept = [group_name(verdict.group)] if verdict.kept else verdict.group
        held = {name: self._held.pop(name, []) for name in names}
        self._open -= names
        for name in kept:
            for tell in held[name]:
                tell()

    def _tell(self, name: str, event: Callable[[], None]) -> None:
        if name in self._open:
            self._held.setdefault(name, []).append(event)
        else:
            event()
