"""The plan drawn in characters: a bar for each unit, brackets around what is merged, and the reasons."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from mrecg.config.merging import PlannerConfig
from mrecg.planner.schedule import Criterion, Plan
from mrecg.report.reasons import criterion_title, passed_over, reason
from mrecg.runs.text import number, plural
from mrecg.track.terminal.words import blocks, brackets, members, shorten

MOST_APART = 3
"""Pairs that are not merged and get a line of their own."""
BLUE, BROWN = "color(31)", "color(130)"
"""Units alone and units merged; of medium brightness, so that both can be read on light and dark ground."""
SMALL = 0.05
"""Bars get a logarithmic scale if half of all capacities are below this share of the largest."""
WIDEST_BAR = 60
NAME = 26
"""Columns of a unit's name, at most."""


class PlanView:
    """Draws a plan for a terminal of any width from 60 columns on.

    Args:
        plan: Any plan, also one without merges or without capacities.
        title: Stands above.
    """

    def __init__(self, plan: Plan, *, title: str) -> None:
        self.plan, self.title = plan, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plan = self.plan
        criterion = plan.criteria[0] if plan.criteria else None
        yield Text(self.title, "bold", overflow="fold")
        yield Text(_what(plan), overflow="fold")
        if criterion is not None:
            scale = Scale(criterion.capacities)
            measured, _, compared = criterion_title(criterion).partition(": ")
            yield Text(f"Bars: {measured}, {scale.words}. Right: {compared}.", "dim", overflow="fold")
        yield Text("")
        yield from self._units(criterion, options.max_width)

    def _units(self, criterion: Criterion | None, width: int) -> Iterator[Text]:
        plan = self.plan
        name = min(NAME, max(len("unit"), *map(len, plan.units)))
        room = max(8, min(WIDEST_BAR, width - 1 - name - 24))
        scale = Scale(criterion.capacities) if criterion else None
        marks = [(mark, len(group) > 1) for group in plan.groups for mark in brackets(len(group))]
        merged_left = {merge.left for merge in plan.merges}
        yield _row((" ", "unit", "capacity", "", "to next"), name, room, "dim")
        for i, unit in enumerate(plan.units):
            if plan.facts and i and plan.facts[i].stage != plan.facts[i - 1].stage:
                yield _boundary(marks[i], f"stage {plan.facts[i].stage}", 2 + name)
            mark, inside = marks[i]
            drawn = capacity = difference = ""
            if criterion is not None and scale is not None:
                drawn = blocks(scale(criterion.capacities[i]) * room)
                capacity = number(criterion.capacities[i])
                if i < len(criterion.differences):
                    difference = number(criterion.differences[i])
            line = _row((mark, unit, drawn, capacity, difference), name, room, "")
            style = BROWN if inside else BLUE
            if inside:
                line.stylize(style, 0, 2 + name)
            line.stylize(style, 4 + name, 4 + name + room)
            if unit in merged_left:
                line.stylize(f"bold {BROWN}", line.cell_len - 7)
            yield line


class PlanReasons:
    """Says what a plan merges and why, and what it does not merge although it differs more; it stands last.

    Args:
        plan: Any plan; of one without merges it says nothing.
        planner: What it was made by.
    """

    def __init__(self, plan: Plan, planner: PlannerConfig) -> None:
        self.plan, self.planner = plan, planner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.plan.merges:
            return
        yield Text("Merged, and why", "bold")
        yield from self._reasons()
        apart = passed_over(self.plan, self.planner)
        for pair, why in apart[:MOST_APART]:
            yield Text(f"  not merged: {members((pair.left, pair.right), 64)}")
            yield _indented(f"{reason(self.plan, pair)}; but {why}")
        if len(apart) > MOST_APART:
            yield Text(f"  and {plural(len(apart) - MOST_APART, 'pair')} more that differ as much")
        yield Text("")

    def _reasons(self) -> Iterator[Padding | Text]:
        for group in self.plan.merged:
            inside = [merge for merge in self.plan.merges if merge.left in group]
            if inside and inside[0].difference is None:  # a schedule names groups, not pairs
                yield Text(f"  {members(group, 76)}", BROWN)
                yield _indented(reason(self.plan, inside[0]).partition(";")[0])
                continue
            for merge in inside:
                yield Text(f"  {members((merge.left, merge.right), 76)}", BROWN)
                yield _indented(reason(self.plan, merge))


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 4), expand=False)


class Scale:
    """Puts capacities on a line from 0 to 1.

    Args:
        capacities: All that are to be drawn.

    Attributes:
        words: Says which scale it is, and where it begins and ends.

    >>> scale = Scale([1.0, 4.0, 128.0])
    >>> scale.words, [scale(value) for value in (1.0, 4.0, 128.0)]
    ('log scale from 0.500 to 128.0', [0.125, 0.375, 1.0])
    >>> scale = Scale([0.0, 3.0, 4.0])
    >>> scale.words, [scale(value) for value in (0.0, 3.0, 4.0)]
    ('linear scale from 0 to 4.000', [0.0, 0.75, 1.0])
    """

    def __init__(self, capacities: Sequence[float]) -> None:
        known = [value for value in capacities if math.isfinite(value) and value > 0]
        self._most = max(known, default=1.0)
        least = min(known, default=1.0)
        self._log = bool(known) and median(known) < SMALL * self._most
        self._least = least / 2 if self._log else 0.0  # half of it: the smallest still has a bar
        kind = "log" if self._log else "linear"
        self.words = f"{kind} scale from {number(self._least)} to {number(self._most)}"

    def __call__(self, capacity: float) -> float:
        """The place of a capacity; 0 for what is not positive, 1 for what is infinite."""
        if not capacity > 0:
            return 0.0
        capacity = min(capacity, self._most)
        if self._log:
            return max(0.0, math.log(capacity / self._least) / math.log(self._most / self._least))
        return capacity / self._most


def _what(plan: Plan) -> str:
    how = f"{plan.granularity} by {plan.planner}" if plan.planner else plan.granularity
    pairs = len(plan.merges)
    merged = f"{plural(pairs, 'pair')} merged" if pairs else "nothing merged"
    return f"{plural(len(plan.units), 'unit')} in {plural(len(plan.groups), 'group')}, {how}: {merged}"


def _row(cells: tuple[str, str, str, str, str], name: int, room: int, style: str) -> Text:
    mark, unit, drawn, capacity, difference = cells
    text = f"{mark} {shorten(unit, name):<{name}}  {drawn:<{room}}  {capacity:>7}  {difference:>7}"
    return Text(text, style, no_wrap=True, overflow="crop")


def _boundary(mark: tuple[str, bool], label: str, width: int) -> Text:
    """A thin rule where a stage begins; a bracket continues through it."""
    through = "│" if mark[1] and mark[0] != "┐" else " "
    rule = Text(f"{through} {label} {'╌' * max(0, width - len(label) - 3)}", "dim", no_wrap=True)
    rule.stylize(f"not dim {BROWN}", 0, 1)
    return rule
