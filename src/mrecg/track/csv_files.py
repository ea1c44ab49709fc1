"""The run folder's own copy of every curve: the source of truth, readable without W&B."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from mrecg.reconstruct.events import CurvePoint, FinishPoint, Silent, UnitResult
from mrecg.runs.layout import CURVES, FINISHING, UNITS

INDEX = "index"
UNIT_COLUMNS = (INDEX, *(field.name for field in fields(UnitResult)))
"""The columns of units.csv: the place of the unit from 0, then its result."""


class CsvFiles(Silent):
    """Writes ``curves/<group>.csv``, ``units.csv`` and ``finishing.csv`` during the run.

    A second pass over the same group (brecq's) writes ``curves/<group>.<pass>.csv``.

    Args:
        keep: Names of curves there that are to stay; others are of an earlier run and are removed.
    """

    def __init__(self, folder: Path, *, keep: Collection[str] = ()) -> None:
        self.folder = folder
        self._passes = 0
        self._files: dict[tuple[int, str], Path] = {}
        (folder / CURVES).mkdir(parents=True, exist_ok=True)
        for stale in (folder / CURVES).glob("*.csv"):
            if stale.name not in keep:  # of an earlier run in the same folder, whose rows would precede ours
                stale.unlink()
        (folder / FINISHING).unlink(missing_ok=True)
        self.units(())

    def units(self, units: Sequence[UnitResult]) -> None:
        """Begin ``units.csv`` with these units, whatever it held."""
        (self.folder / UNITS).unlink(missing_ok=True)
        with (self.folder / UNITS).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(UNIT_COLUMNS)
        for index, unit in enumerate(units):
            self.unit(index, unit)

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Count the pass."""
        self._passes += 1

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Begin the curve of a group; one that diverged and begins again leaves none."""
        file = self._files.pop((self._passes, name), None)
        if file is not None:
            file.unlink(missing_ok=True)

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Append the points of a chunk."""
        name = group if self._passes == 1 else f"{group}.{task}"
        path = self.folder / CURVES / f"{name}.csv"
        self._files[self._passes, group] = path
        _append(path, CurvePoint, points)

    def unit(self, index: int, result: UnitResult) -> None:
        """Append a unit."""
        with (self.folder / UNITS).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([index, *astuple(result)])

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Append points of the finishing."""
        _append(self.folder / FINISHING, FinishPoint, points)


def _append(path: Path, kind: type, points: Sequence[CurvePoint] | Sequence[FinishPoint]) -> None:
    """Append rows, to a new file after a header."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow([field.name for field in fields(kind)])
        writer.writerows(astuple(point) for point in points)
