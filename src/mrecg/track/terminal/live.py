"""Progress that is redrawn in place: a bar for a stage, three lines for a reconstruction.

Colours are of medium brightness, so that they can be read on light and dark ground; all else has the
terminal's own.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import Ahead, Broadcast, GroupResult, Listener, Silent, UnitResult
from mrecg.report.reasons import verdict_line
from mrecg.runs.text import memory, number, stopwatch
from mrecg.system.process_memory import memory_in_use
from mrecg.track.terminal import words
from mrecg.track.terminal.advance import Advance
from mrecg.track.terminal.course import Course, Stretch
from mrecg.track.terminal.unit_lines import UnitLines

BLUE, BROWN, GREEN = "color(31)", "color(130)", "color(28)"
"""Colours of what is running, merged and done."""
REFRESH = 4
"""Frames per second."""
LABEL = 15
"""Columns of a stage's name."""
WIDEST = 110
"""Columns of the live lines, at most: on a wide terminal what belongs together would be far apart."""


def _live(console: Console, view: "_Stage | _Groups") -> Live:
    # Standard output is left alone where it goes elsewhere: what is printed there must get there.
    return Live(
        view,
        console=console,
        refresh_per_second=REFRESH,
        transient=True,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
    )


def row(left: Text, right: Text, width: int) -> Text:
    """Put one text to the left and one to the right.

    Args:
        left: Cut where there is no room.
        right: Whole, or left out where there is no room at all.
        width: Columns.

    Returns:
        One line of at most ``width`` columns.
    """
    if right.cell_len + 8 > width:
        right = Text()
    left = left.copy()
    left.truncate(max(0, width - right.cell_len - (2 if right else 0)), overflow="ellipsis")
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len), right, no_wrap=True)


def _through(console: Console, name: str, what: str, seconds: float) -> None:
    line = Text.assemble("  ", ("✓", GREEN), f" {name:<{LABEL - 1}} ", f"{what:<14}", stopwatch(seconds))
    console.print(line, no_wrap=True, overflow="ellipsis")


def _bar_line(name: str, fraction: float, facts: Sequence[str], width: int) -> Text:
    right = Text("   ".join(facts))
    done, rest = words.bar(fraction, max(6, min(48, width - right.cell_len - LABEL - 8)))
    left = Text.assemble("  ", (f"{name:<{LABEL}}", "bold"), " ", (done, BLUE), (rest, "dim"))
    return row(left, right, width)


@contextmanager
def live_stage(console: Console, name: str, total: int) -> Iterator[Advance]:
    """Show a stage as a bar, and leave one line.

    Args:
        total: Items.

    Yields:
        What is called with the number of items done.
    """
    view = _Stage(name, total)
    with _live(console, view):
        yield view.advance
    if total:
        _through(console, name, f"{view.done}/{total}", time.monotonic() - view.begin)


class _Stage:
    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done, self.begin = name, total, 0, time.monotonic()
        self.fact = ""

    def advance(self, more: int, fact: str = "") -> None:
        self.done, self.fact = self.done + more, fact

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.total:
            return
        spent = time.monotonic() - self.begin
        left = spent * (self.total - self.done) / self.done if self.done and spent > 1 else None
        facts = [*filter(None, [self.fact]), f"{self.done}/{self.total}", stopwatch(spent)]
        if left is not None and left > 1:
            facts.append(words.remaining(left, sure=self.done / self.total > 0.3))
        facts.append(memory(memory_in_use()[0]))
        width = min(options.max_width - 1, WIDEST)
        yield _bar_line(self.name, self.done / self.total, facts, width)


@contextmanager
def live_reconstruction(
    console: Console,
    name: str,
    course: Course,
    *,
    lines: bool,
    block_wise: Mapping[str, float],
) -> Iterator[Listener]:
    """Follow a reconstruction: three lines that are redrawn, and above them one for each finished unit.

    Args:
        lines: Whether each finished unit gets a line.
        block_wise: By unit the error of the block-wise run to compare with; empty: none is known.

    Yields:
        The listener.
    """
    name = name.partition(" ")[0]
    view = _Groups(console, name, course, lines=lines, block_wise=block_wise)
    with _live(console, view):
        yield Broadcast(course, view)
    _through(console, name, f"{course.units}/{course.units} units", course.seconds)


class _Groups(Silent):
    """The three lines of a reconstruction: the whole, the group, its loss."""

    def __init__(
        self,
        console: Console,
        name: str,
        course: Course,
        *,
        lines: bool,
        block_wise: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.console, self.name, self.course = console, name, course
        self.shown, self.block_wise = lines, block_wise
        self.lines = UnitLines(console, block_wise=block_wise)
        self.units: list[UnitResult] = []

    def outline(self, passes: Sequence[Sequence[Ahead]]) -> None:
        names = [name for groups in passes for ahead in groups for name in ahead.members]
        longest = max(map(len, names), default=0)
        self.lines = UnitLines(self.console, longest=longest, block_wise=self.block_wise)

    def begin(self, groups: Sequence[str], steps: int) -> None:
        if self.shown and self.course.passes > 1:
            text = f"  pass {self.course.number} of {self.course.passes}"
            self.console.print(Text(text, "bold"), no_wrap=True)

    def judged(self, verdict: Verdict) -> None:
        if self.shown:
            self.console.print(Text(f"  {verdict_line(verdict)}"), soft_wrap=True)

    def unit(self, index: int, result: UnitResult) -> None:
        self.units.append(result)

    def finished(self, result: GroupResult) -> None:
        units, self.units = self.units, []
        if self.shown:
            self.lines.show(result, units)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        course, here = self.course, self.course.current
        width = min(options.max_width - 1, WIDEST)
        facts = [f"{course.units_done}/{course.units} units", stopwatch(course.seconds)]
        facts.append(words.remaining(course.left, sure=course.sure))
        name = f"{self.name} {course.number}/{course.passes}" if course.passes > 1 else self.name
        yield Text("")
        yield _bar_line(name, course.fraction, facts, width)
        used, gpu = memory_in_use()
        in_use = memory(used) + (f" + {memory(gpu)} GPU" if gpu is not None else "")
        if here is None:
            yield row(Text("  passing the images on to the next unit", "dim"), Text(), width)
            yield row(Text(""), Text(in_use, "dim"), width)
            return
        yield _group_line(here, width)
        yield _loss_line(here, in_use, width)


def _group_line(here: Stretch, width: int) -> Text:
    own = here.done - (here.ahead.steps - here.total)
    what = f"correcting {here.done}" if here.correcting else f"step {max(own, 0)}"
    right = Text(f"{what}/{here.ahead.steps - here.total if here.correcting else here.total}")
    if here.correcting:
        right = Text("correcting activations")
    word = "trying " if here.ahead.trial else ""
    room = width - right.cell_len - len(word) - 4
    style = f"bold {BROWN}" if len(here.ahead.members) > 1 else "bold"
    return row(Text.assemble("  ", word, (words.members(here.ahead.members, room), style)), right, width)


def _loss_line(here: Stretch, in_use: str, width: int) -> Text:
    cells = max(8, min(32, width - 54))
    drawn = words.spark(here.curve, cells)
    text = Text.assemble("  ", (drawn, BLUE), ("·" * (cells - len(drawn)), "dim"), "  ")
    if here.losses:
        loss = here.losses[-1][1]
        text.append_text(Text.assemble("loss ", (number(loss), "bold")))
        if here.floor is not None:
            text.append(f"   floor {number(here.floor)}")
            if here.floor > 0 and loss > 0:
                text.append(f"   {loss / here.floor:.2f}×", "dim")
    return row(text, Text(in_use, "dim"), width)
