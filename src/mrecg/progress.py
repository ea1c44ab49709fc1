"""Progress on the screen: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mrecg.reconstruct.records import CurvePoint, Listener, Silent, UnitResult

TABLE_WIDTH = 140
"""Columns of a table that goes to a file or pipe."""
BAR_COLUMNS = 64
"""Columns that a bar and its numbers take; what is left is for the note."""
LINE_SECONDS = 10.0
"""Seconds between two lines where there is no terminal."""


def results_console() -> Console:
    """Where results are printed: standard output, wide enough for a table where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)


class Display(Protocol):
    """Whoever shows how far a run is."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a stage of ``total`` items; the function it gives is called with the number of items done."""

    def note(self, text: str) -> None:
        """Say one line."""

    def reconstruction(self, name: str) -> AbstractContextManager[Listener]:
        """Show a reconstruction; the listener it gives follows the steps."""


class Quiet:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Give a function that does nothing."""
        yield lambda done: None

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def reconstruction(self, name: str) -> Iterator[Listener]:
        """Give a listener that does nothing."""
        yield Silent()


class Screen:
    """Bars on a terminal; elsewhere a line every ten seconds and one a stage.

    Args:
        title: Stands before every line, for example the run's name.
        console: Where to write; standard error by default, so that results can be piped.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        if title:
            self.console.print(f"[bold]{title}[/bold]", highlight=False)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show one stage."""
        with _bar(self.console, name) as update:
            update(0, total, "")
            yield lambda done: update(done, None, "")

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(f"  {text}", highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def reconstruction(self, name: str) -> Iterator[Listener]:
        """Show the steps of all groups, with the loss of the current one and the error behind the last."""
        with _bar(self.console, name) as update:
            yield _Follower(update)


class _Follower(Silent):
    def __init__(self, update: "_Update") -> None:
        self.update = update
        self.error = ""

    def begin(self, groups: Sequence[str], steps: int) -> None:
        self.update(0, max(steps, len(groups)), "")
        self.by_steps = steps > 0

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        loss = f" loss {points[-1].reconstruction:.3g}" if points else ""
        self.update(steps, None, f"{group}{loss}{self.error}")

    def unit(self, index: int, result: UnitResult) -> None:
        self.error = f", error {result.error:.3f} behind {result.name}"
        self.update(0 if self.by_steps else 1, None, result.name + self.error)


_Update = Callable[[int, int | None, str], None]


@contextmanager
def _bar(console: Console, name: str) -> Iterator[_Update]:
    if not console.is_terminal:
        yield _Lines(console, name)
        return
    columns = (
        TextColumn("  {task.description:<18}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None, note="")

        def update(done: int, total: int | None, note: str) -> None:
            if total is not None:
                progress.reset(task, total=total)
            progress.update(task, advance=done, note=note[: max(0, console.width - BAR_COLUMNS)])

        yield update
        progress.update(task, note="")


class _Lines:
    """Progress as lines, for logs and pipes."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name = console, name
        self.done, self.total = 0, 0
        self.begin = self.last = time.monotonic()

    def __call__(self, done: int, total: int | None, note: str) -> None:
        if total is not None:
            self.done, self.total = 0, total
        self.done += done
        now = time.monotonic()
        finished = 0 < self.total <= self.done and done > 0
        if finished or now - self.last >= LINE_SECONDS:
            self.last = now
            line = f"  {self.name}: {self.done}/{self.total} ({now - self.begin:.0f} s)"
            line += f" {note}" if note and not finished else ""
            self.console.print(line, highlight=False, soft_wrap=True)
