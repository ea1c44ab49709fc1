"""What a part has found, written as soon as it is found."""

import time
from pathlib import Path
from typing import Any

from benchmarks import machine


class Record:
    """The file of one part.

    Args:
        path: Of the file.
        about: Device and versions.
        seconds: Time that the part has.
    """

    def __init__(self, path: Path, about: dict[str, Any], seconds: float) -> None:
        self.path, self._begin, self._seconds = path, time.monotonic(), seconds
        self.content: dict[str, Any] = {"status": "begun", "device": about, "items": {}, "left_out": {}}
        self._write()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._seconds - (time.monotonic() - self._begin)

    def put(self, name: str, value: Any) -> None:
        """Keep what was found of one item."""
        self.content["items"][name] = value
        self._write()

    def leave_out(self, name: str, reason: str) -> None:
        """Say that an item was not measured, and why."""
        self.content["left_out"][name] = reason
        self._write()

    def has_time(self, name: str, seconds: float) -> bool:
        """Tell whether an item fits; say so in the file where it does not."""
        if seconds <= self.left:
            return True
        self.leave_out(name, f"takes about {seconds:.0f} s, and {max(0.0, self.left):.0f} s are left")
        return False

    def end(self, headline: str, *, holds: bool = True) -> None:
        """Close the file.

        Args:
            headline: One line.
            holds: Whether everything is as it should be.
        """
        self.content |= {"status": "done" if holds else "does not hold", "headline": headline}
        self._write()

    def _write(self) -> None:
        self.content["seconds"] = round(time.monotonic() - self._begin, 1)
        machine.write(self.content, self.path)
