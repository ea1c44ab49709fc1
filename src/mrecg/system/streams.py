"""Standard output and error that are closed, full or broken: what they do not take is dropped.

A job of hours must not end because its log's disk is full or its terminal is gone.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_GONE = (errno.EPIPE, errno.EIO)
"""Errors of a pipe without a reader and of a closed terminal; neither comes back."""


FIRST_SECONDS, AGAIN_SECONDS = 5.0, 10.0
"""After how long `Patience` says its first line, and the next."""


class Forgiving:
    """A text stream whose errors are kept instead of raised; all else is the stream's own.

    Attributes:
        failed: The first error; None where all was written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failed: OSError | ValueError | None = None

    def __getattr__(self, name: str) -> Any:
        """Give what belongs to the stream."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, as far as the stream takes it; characters that it does not know become ``?``."""
        try:
            self._try(lambda: self._stream.write(text))
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "replace").decode(error.encoding)
            self._try(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._try(self._stream.flush)

    def give_up(self) -> None:
        """Send the rest nowhere, so that Python does not complain of it at its end."""
        with suppress(OSError, ValueError):
            _to_null(self._stream.fileno())
            self._stream.flush()

    def _try(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:
            self.failed = self.failed or error
            if isinstance(error, OSError) and error.errno in _GONE:
                self.give_up()


def forgiving(stream: TextIO | None) -> TextIO:
    """Make a stream forgiving.

    Args:
        stream: Standard output or error; None where it was closed when Python began.

    Returns:
        The stream, which raises no more errors.
    """
    if isinstance(stream, Forgiving):
        return cast(TextIO, stream)
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # as long as the process
    return cast(TextIO, Forgiving(stream))


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Make standard output and error forgiving, for all that write to them: mrecg, Hydra, or any library."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would get its number, and what others print there
            _to_null(number)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(forgiving, before)
    ours = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream, one in zip(ours, before, strict=True):
            stream.flush()
            if one is not stream and lost(stream) is not None:
                stream.give_up()  # type: ignore[attr-defined]
        sys.stdout, sys.stderr = before


def lost(stream: TextIO) -> OSError | ValueError | None:
    """Say why not all was written to a stream.

    Args:
        stream: Standard output or error.

    Returns:
        The first error; None where all was written, or that is unknown.
    """
    return stream.failed if isinstance(stream, Forgiving) else None


class Patience:
    """Says on standard error how far something is that mostly takes no time, where it takes some."""

    def __init__(self, what: str) -> None:
        self._what, self._begin = what, time.monotonic()
        self._say_at = FIRST_SECONDS

    def __call__(self, done: int, total: int) -> None:
        """Take note of how much is done."""
        spent = time.monotonic() - self._begin
        if spent >= self._say_at:
            forgiving(sys.stderr).write(f"  {self._what}: {done:,}/{total:,} ({spent:.0f} s)\n")
            self._say_at = spent + AGAIN_SECONDS


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    else:
        os.set_inheritable(number, True)
