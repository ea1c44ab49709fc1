"""One line for each unit that is through, under a heading: they scroll away above the live lines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rich.console import Console
from rich.text import Text

from mrecg.reconstruct.events import GroupResult, UnitResult
from mrecg.runs.text import number, stopwatch
from mrecg.track.terminal import words

SPARK, MERGED, LESS = "color(31)", "color(130)", "color(28)"
NAME, CURVE, BAR = (12, 44), (10, 40), (7, 24)
"""Fewest and most columns of a name, a loss curve and the bar of an error."""
FIXED = 35
"""Columns of everything else that always stands there."""
LOSS, BOTH = 6, 15
"""Columns of the last training loss alone, and of the first and the last."""
TO_BLOCK = 8
"""Columns of the difference from the block-wise run."""


class UnitLines:
    """Prints finished groups.

    Args:
        longest: Characters of the longest name to come.
        block_wise: By unit the error of the block-wise run to compare with; empty: none is known.
    """

    def __init__(
        self,
        console: Console,
        *,
        longest: int = NAME[1],
        block_wise: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._console, self._longest, self._headed = console, longest, False
        self._block_wise = block_wise
        known = [error for error in block_wise.values() if math.isfinite(error)]
        self._full = max(known, default=0.0) or 1.0

    def show(self, result: GroupResult, units: Sequence[UnitResult]) -> None:
        """Print a group.

        Args:
            units: Its units, measured; empty in a pass that measures none.
        """
        shape = _Shape.of(self._console.width, self._longest, compared=bool(self._block_wise))
        if not self._headed:
            loss = "first → last" if shape.loss == BOTH else "loss"
            head = _line(
                " ", _Cells("unit", "loss curve", loss, "floor", "error", "", "to block", "time"), shape
            )
            head.stylize("dim")
            self._print(head)
            self._headed = True
        names = [unit.name for unit in units] or [result.name]
        marks = words.brackets(len(names))
        for i, unit in enumerate(names):
            cells = _Cells(unit)
            if i == len(names) - 1:
                cells = _cells(unit, result, shape)
            if units:
                error = units[i].error
                share = min(error / self._full, 1.0) if math.isfinite(error) else 0.0
                cells.error, cells.bar = number(error), words.blocks(share * shape.bar)
                cells.change = words.change(error, self._block_wise.get(unit))
            line = _line(marks[i], cells, shape)
            if len(names) > 1:
                line.stylize(MERGED, 2, 4 + shape.name)
            line.stylize(SPARK, 6 + shape.name, 6 + shape.name + shape.curve)
            line.stylize(SPARK, shape.bar_at, shape.bar_at + shape.bar)
            if cells.change.startswith("-"):
                line.stylize(LESS, shape.bar_at + shape.bar, shape.bar_at + shape.bar + 1 + TO_BLOCK)
            self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="crop", crop=True)


@dataclass
class _Cells:
    unit: str
    curve: str = ""
    loss: str = ""
    floor: str = ""
    error: str = ""
    bar: str = ""
    change: str = ""
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Columns of what has no fixed width."""

    name: int
    curve: int
    bar: int
    loss: int
    compared: bool

    @classmethod
    def of(cls, width: int, longest: int, *, compared: bool) -> "_Shape":
        """Fit a terminal: curve and bar share what the name leaves; a narrow one has the last loss alone."""
        free = width - 1 - FIXED - compared * (TO_BLOCK + 1)
        least = NAME[0] + CURVE[0] + BAR[0]
        loss = BOTH if free - BOTH >= least else LOSS
        free = max(least, free - loss)
        name = max(NAME[0], min(NAME[1], longest, free - CURVE[0] - BAR[0]))
        bar = min(BAR[1], BAR[0] + (free - name - CURVE[0] - BAR[0]) // 3)
        return cls(name=name, curve=min(CURVE[1], free - name - bar), bar=bar, loss=loss, compared=compared)

    @property
    def bar_at(self) -> int:
        """Where the bar of the error begins."""
        return 25 + self.name + self.curve + self.loss


def _cells(unit: str, result: GroupResult, shape: _Shape) -> _Cells:
    """What is said where a group ends."""
    cells = _Cells(unit, time=stopwatch(result.seconds))
    if result.curve:
        points = [(point.step / result.steps, point.reconstruction) for point in result.curve]
        ends = (0, -1) if shape.loss == BOTH else (-1,)
        cells.curve = words.spark(points, shape.curve)
        cells.loss = " → ".join(number(result.curve[j].reconstruction) for j in ends)
        cells.floor = number(result.floor)
    return cells


def _line(mark: str, cells: _Cells, shape: _Shape) -> Text:
    text = f"  {mark} {words.shorten(cells.unit, shape.name):<{shape.name}}  {cells.curve:<{shape.curve}}"
    text += f"  {cells.loss:>{shape.loss}}  {cells.floor:>6}  {cells.error:>6} {cells.bar:<{shape.bar}}"
    if shape.compared:
        text += f" {cells.change:>{TO_BLOCK}}"
    return Text(f"{text}  {cells.time:>8}", no_wrap=True)
