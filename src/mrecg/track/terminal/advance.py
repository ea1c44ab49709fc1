"""What a stage of a run tells its display."""

from typing import Protocol


class Advance(Protocol):
    """Is told of the progress of a stage."""

    def __call__(self, more: int, fact: str = "") -> None:
        """So many items more are done; ``fact`` is a short text to be shown until the next call."""
