"""Find run folders."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mrecg.errors import DataError
from mrecg.runs.layout import SUMMARY


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Find the run folders among folders and in them, at any depth.

    What lies in a run folder is not looked at: its curves and W&B files are many, and are no runs.

    Args:
        paths: Run folders, or folders that hold some.

    Returns:
        Each run folder once: in the order given, below one folder in natural order (2 before 10).

    Raises:
        DataError: A path is no folder, or there is no run in it.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; name run folders, or folders that hold some")
        runs = list(runs_below(path))
        if not runs:
            raise DataError(
                f"{path}: no run in it (no summary.json at any depth); name a folder that a run has written"
            )
        # No link is followed on the way down, so only the start has to be resolved.
        start = path.resolve()
        for run in sorted(runs, key=natural):
            found.setdefault(start / run.relative_to(path), run)
    return list(found.values())


def runs_below(folder: Path, marks: frozenset[str] = frozenset({SUMMARY})) -> Iterator[Path]:
    """Find the run folders in a folder, itself included.

    Args:
        folder: Where to begin.
        marks: Names of which a run folder holds one.

    Yields:
        Run folders, in no order; what cannot be listed holds none.
    """
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as listed:
                entries = list(listed)
        except OSError:
            continue
        if any(entry.name in marks for entry in entries):
            yield Path(place)
        else:
            waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def natural(path: Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sort key that counts: 2 before 10, and 2-name before 10-name.

    Args:
        path: Any path.

    >>> [path.name for path in sorted(map(Path, ["10", "2-b", "2", "a"]), key=natural)]
    ['2', '2-b', '10', 'a']
    """
    return tuple(
        tuple(
            (0, int(piece), "") if digits else (1, 0, piece)
            for digits, piece in enumerate_pieces(part)
            if piece
        )
        for part in path.parts
    )


def enumerate_pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Split a text into its numbers and what is between.

    Args:
        text: Any text.

    Yields:
        Whether it is a number, and the piece.
    """
    for place, piece in enumerate(re.split(r"([0-9]+)", text)):
        yield place % 2 == 1, piece
