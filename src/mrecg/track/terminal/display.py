"""Display of a run's progress: live on a terminal, plain lines elsewhere, or none."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from mrecg.errors import legible
from mrecg.reconstruct.events import Listener, Silent
from mrecg.system.streams import forgiving
from mrecg.track.terminal.advance import Advance
from mrecg.track.terminal.course import Course
from mrecg.track.terminal.live import live_reconstruction, live_stage
from mrecg.track.terminal.plain import plain_reconstruction, plain_stage

TABLE_WIDTH = 140
"""Columns of a table that goes to a file or pipe."""


class _Console(Console):
    """Prints names and contents of files without letting them control the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, without control characters but rich's own."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(legible(segment.text, escaped=False), segment.style)


def console_on(file: TextIO | None, *, width: int | None = None) -> Console:
    """Open a console.

    Args:
        file: Standard output or standard error; None where it is closed. What it does not take is dropped.
        width: Columns; None: the terminal's.

    Returns:
        The console: live only on a real terminal, and without any escape sequence where NO_COLOR is set.
    """
    plain, file = bool(os.environ.get("NO_COLOR")), forgiving(file)
    return _Console(
        file=file,
        width=width,
        markup=False,  # a folder may be called [bold]
        color_system=None if plain else "auto",
        force_interactive=None if file.isatty() and not plain else False,
    )


def results_console() -> Console:
    """Open standard output for results; if it is not a terminal, as wide as COLUMNS or a table."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    wide = not terminal and not os.environ.get("COLUMNS", "").isdigit()
    return console_on(sys.stdout, width=TABLE_WIDTH if wide else None)


class Display(Protocol):
    """Shows the progress of a run."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Show a stage of ``total`` items; the function it gives is called with the number of items done."""

    def note(self, text: str) -> None:
        """Say one line."""

    def reconstruction(
        self, name: str, *, lines: bool = True, block_wise: Mapping[str, float] | None = None
    ) -> AbstractContextManager[Listener]:
        """Show a reconstruction; its listener follows the steps.

        Args:
            lines: Whether each finished unit gets a line.
            block_wise: By unit the error of the block-wise run to compare with; None: none is known.
        """


class Quiet:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """Give a function that does nothing."""
        yield lambda more, fact="": None

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def reconstruction(
        self, name: str, *, lines: bool = True, block_wise: Mapping[str, float] | None = None
    ) -> Iterator[Listener]:
        """Give a listener that does nothing."""
        yield Silent()


class Screen:
    """A live display on a terminal; elsewhere a line every ten seconds, and one per stage and finished unit.

    Args:
        title: Stands before every line, for example the run's name.
        console: Where to write; standard error by default, so that results can be piped.

    Attributes:
        live: Whether it redraws: not where NO_COLOR is set, nor on a dumb terminal or one without Unicode.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or console_on(sys.stderr)
        readable = not self.console.options.ascii_only
        self.live = self.console.is_interactive and not self.console.no_color and readable
        if title:
            self.console.print(Text(title, "bold"), soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """Show one stage."""
        show = live_stage if self.live else plain_stage
        with show(self.console, name, total) as advance:
            yield advance

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(f"  {text}", highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def reconstruction(
        self, name: str, *, lines: bool = True, block_wise: Mapping[str, float] | None = None
    ) -> Iterator[Listener]:
        """Show the steps of all groups, the loss of the current one and the error after each unit."""
        show = live_reconstruction if self.live else plain_reconstruction
        with show(self.console, name, Course(), lines=lines, block_wise=block_wise or {}) as listener:
            yield listener
