"""Read the files of many run folders, through an index where they are many."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mrecg.runs.index import FROM_RUNS, Index
from mrecg.system.checked_read import read_regular


class Reader:
    """Reads files below some folders; a context, at whose end the indexes are written.

    Args:
        folders: The folders that were named.
        found: Run folders in them.
        every: Whether these are all; then what an index knows of others is dropped.
    """

    def __init__(self, folders: Sequence[Path], found: Sequence[Path], *, every: bool = True) -> None:
        self._indexes: list[Index] = []
        if len(found) >= FROM_RUNS:
            for folder in dict.fromkeys(map(Path, folders)):
                below = [run for run in found if run != folder and run.is_relative_to(folder)]
                if len(below) >= FROM_RUNS:
                    index = Index(folder)
                    if every:
                        index.forget(below)
                    self._indexes.append(index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in self._indexes:
            index.close()

    def __call__(self, file: Path) -> bytes:
        """Read a file.

        Args:
            file: Any file.

        Returns:
            What is in it now.

        Raises:
            OSError: It is missing, or not readable.
        """
        index = next((index for index in self._indexes if index.holds(file)), None)
        return read_regular(file) if index is None else index.read(file)
