"""Progress as plain lines, for logs, pipes and terminals that do not redraw."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console

from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import Ahead, Broadcast, CurvePoint, GroupResult, Listener, Silent, UnitResult
from mrecg.report.reasons import verdict_line
from mrecg.runs.text import memory, number, stopwatch
from mrecg.system.process_memory import memory_in_use
from mrecg.track.terminal import words
from mrecg.track.terminal.advance import Advance
from mrecg.track.terminal.course import Course

LINE_SECONDS = 10.0
"""Seconds between two lines."""
SPARK_CELLS = 12


def _say(console: Console, line: str) -> None:
    console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)


@contextmanager
def plain_stage(console: Console, name: str, total: int) -> Iterator[Advance]:
    """Say how far a stage is, every ten seconds, and when it is through.

    Args:
        total: Items.

    Yields:
        What is called with the number of items done.
    """
    done, begin, said = 0, time.monotonic(), ""
    last = begin

    def line(now: float) -> str:
        return f"{name}: {done}/{total} ({stopwatch(now - begin)}){said and ', '}{said}"

    def advance(more: int, fact: str = "") -> None:
        nonlocal done, last, said
        done, said = done + more, fact
        now = time.monotonic()
        if now - last >= LINE_SECONDS and done < total:
            last = now
            _say(console, line(now))

    yield advance
    if total:
        _say(console, line(time.monotonic()))


@contextmanager
def plain_reconstruction(
    console: Console,
    name: str,
    course: Course,
    *,
    lines: bool,
    block_wise: Mapping[str, float],
) -> Iterator[Listener]:
    """Follow a reconstruction in lines.

    Args:
        lines: Whether each finished unit gets a line.
        block_wise: By unit the error of the block-wise run to compare with; empty: none is known.

    Yields:
        The listener.
    """
    view = _Lines(console, name, course, lines=lines, block_wise=block_wise)
    yield Broadcast(course, view)
    done, total = (course.steps_done, course.steps) if course.steps else (course.units, course.units)
    what = "steps" if course.steps else "units"
    _say(console, f"{name}: {done}/{total} {what} ({stopwatch(course.seconds)})")


class _Lines(Silent):
    def __init__(
        self,
        console: Console,
        name: str,
        course: Course,
        *,
        lines: bool,
        block_wise: Mapping[str, float],
    ) -> None:
        self.console, self.name, self.course, self.lines = console, name, course, lines
        self.block_wise = block_wise
        self.last = time.monotonic()
        self.told = False
        self.units: list[UnitResult] = []

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        # Before the first step, so that the user sees at once if this will take hours.
        if self.course.steps:
            _say(self.console, f"{self.name}: {self.course.steps:,} steps in all")

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        now, here = time.monotonic(), self.course.current
        if here is None:
            return
        if now - self.last < LINE_SECONDS:
            return
        self.last, course = now, self.course
        parts = [f"{course.steps_done}/{course.steps} steps"]
        if course.passes > 1:
            parts.append(f"pass {course.number}/{course.passes} ({task})")
        parts.append(f"{course.units_done}/{course.units} units")
        parts.append(f"{'trying ' if here.ahead.trial else ''}{group} {here.done}/{here.ahead.steps}")
        if here.losses:
            parts.append(f"loss {number(here.losses[-1][1])} (floor {number(here.floor)})")
        parts.append(stopwatch(course.seconds))
        parts.append(words.remaining(course.left, sure=course.sure))
        used, gpu = memory_in_use()
        parts.append(memory(used) + (f", GPU {memory(gpu)}" if gpu is not None else ""))
        _say(self.console, f"{self.name}: {', '.join(parts)}")

    def judged(self, verdict: Verdict) -> None:
        if self.lines:
            _say(self.console, verdict_line(verdict))

    def unit(self, index: int, result: UnitResult) -> None:
        self.units.append(result)

    def finished(self, result: GroupResult) -> None:
        units, self.units = self.units, []
        if not self.lines:
            return
        place = f"unit {self.course.units_done}/{self.course.units}"
        if self.course.passes > 1:
            place = f"pass {self.course.number}/{self.course.passes}, {place}"
        parts = [f"error {', '.join(map(self._error, units))}"] if units else []
        if result.curve:
            first, last = (result.curve[i].reconstruction for i in (0, -1))
            curve = [(point.step / result.steps, point.reconstruction) for point in result.curve]
            drawn = "" if self.console.options.ascii_only else f"{words.spark(curve, SPARK_CELLS)} "
            loss = f"loss {drawn}{number(first)} -> {number(last)}"
            parts = [f"{loss}, floor {number(result.floor)}", *parts]
        parts.append(stopwatch(result.seconds))
        if not self.told and self.course.left is not None:
            self.told = True
            parts.append(words.remaining(self.course.left, sure=self.course.sure))
        _say(self.console, f"{place}: {result.name}: {', '.join(parts)}")

    def _error(self, unit: UnitResult) -> str:
        change = words.change(unit.error, self.block_wise.get(unit.name))
        return f"{number(unit.error)} ({change} to block)" if change else number(unit.error)
