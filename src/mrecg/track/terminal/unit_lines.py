"""One line for each unit that is through, under a heading: they scroll away above the live lines."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mrecg.reconstruct.events import GroupResult, UnitResult
from mrecg.runs.text import number, stopwatch
from mrecg.track.terminal import words

SPARK, MERGED = "color(31)", "color(130)"
FIXED = 49
"""Columns of everything but the name and the curve."""
NAME, CURVE = (12, 44), (10, 28)
"""Fewest and most columns of the two."""


class UnitLines:
    """Prints finished groups.

    Args:
        longest: Characters of the longest name to come.
    """

    def __init__(self, console: Console, *, longest: int = NAME[1]) -> None:
        self._console, self._longest, self._headed = console, longest, False

    def show(self, result: GroupResult, units: Sequence[UnitResult]) -> None:
        """Print a group.

        Args:
            units: Its units, measured; empty in a pass that measures none.
        """
        name, curve = _widths(self._console.width, self._longest)
        if not self._headed:
            head = _line(" ", ("unit", "loss curve", "first → last", "floor", "error", "time"), name, curve)
            head.stylize("dim")
            self._print(head)
            self._headed = True
        names = [unit.name for unit in units] or [result.name]
        marks = words.brackets(len(names))
        for i, unit in enumerate(names):
            last = i == len(names) - 1
            drawn, change, floor, seconds = "", "", "", ""
            if last:
                seconds = stopwatch(result.seconds)
            if last and result.curve:
                points = [(point.step / result.steps, point.reconstruction) for point in result.curve]
                drawn = words.spark(points, curve)
                change = " → ".join(number(result.curve[j].reconstruction) for j in (0, -1))
                floor = number(result.floor)
            error = number(units[i].error) if units else ""
            line = _line(marks[i], (unit, drawn, change, floor, error, seconds), name, curve)
            if len(names) > 1:
                line.stylize(MERGED, 2, 4 + name)
            line.stylize(SPARK, 6 + name, 6 + name + curve)
            self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="crop", crop=True)


def _widths(width: int, longest: int) -> tuple[int, int]:
    """Columns of the name and of the curve in a terminal of a width."""
    free = max(NAME[0] + CURVE[0], width - 1 - FIXED)
    name = max(NAME[0], min(NAME[1], longest, free - CURVE[0]))
    return name, min(CURVE[1], free - name)


def _line(mark: str, cells: tuple[str, str, str, str, str, str], name: int, curve: int) -> Text:
    unit, drawn, change, floor, error, seconds = cells
    text = f"  {mark} {words.shorten(unit, name):<{name}}  {drawn:<{curve}}  {change:>15}"
    return Text(f"{text}  {floor:>6}  {error:>6}  {seconds:>8}", no_wrap=True)
