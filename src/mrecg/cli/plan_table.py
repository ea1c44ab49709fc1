"""The plan as tables on the terminal: every pair of neighbours, every criterion, and what was chosen."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table

from mrecg.config.schema import FLOAT_BITS
from mrecg.planner.schedule import Plan
from mrecg.runs.text import number
from mrecg.track.terminal.words import brackets, shorten

NAME = 24
"""Columns of a unit's name, at most."""
GAP = 2
"""Columns between two, the table's own one included."""
_BRIEF = {"number of layers": "layers", "kind of layer": "kind"}


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(len, (self.head, *self.cells)))


def plan_tables(plan: Plan, *, width: int) -> Iterator[Table]:
    """Lay a plan out, one line for each unit: criteria side by side, or below each other if too wide.

    Args:
        width: Columns of the terminal.

    Yields:
        Tables; capacities are those of the unit, differences those of the unit and the next. What belongs to
        one capacity stays in one table.
    """
    if not plan.criteria:
        return
    marks = [mark for group in plan.groups for mark in brackets(len(group))]
    fixed = [_Column("", marks), _Column("unit", [shorten(name, NAME) for name in plan.units], right=False)]
    room = width - _width(fixed)
    reasons = [_BRIEF.get(reason, reason) for reason in plan.not_comparable]
    blocks = list(_capacities(plan))
    blocks.insert(1, [_Column("differ in", [*reasons, ""], right=False)])
    held: list[_Column] = []
    for block in blocks:
        if held and _width([*held, *block]) > room:
            yield _table([*fixed, *held], marks)
            held = []
        held += block
    yield _table([*fixed, *held], marks)


def bits_table(plan: Plan) -> Table:
    """Lay out the bits of each layer, where patterns or a budget decide them.

    Args:
        plan: One that has them.
    """
    weights = {layer.name: layer.weights for unit in plan.facts for layer in unit.layers}
    names = list(plan.layer_bits)
    widths = list(plan.layer_bits.values())
    return _table(
        [
            _Column("layer", [shorten(name, 2 * NAME) for name in names], right=False),
            _Column("weights", [f"{weights.get(name, 0):,}" for name in names]),
            _Column("bits", [_bits(width.weight) for width in widths]),
            _Column("reads", [_bits(width.input) for width in widths]),
        ],
        [" "] * len(names),
    )


def _bits(width: int) -> str:
    return "full" if width == FLOAT_BITS else str(width)


def _capacities(plan: Plan) -> Iterator[list[_Column]]:
    """For each capacity its column and those of its differences; two criteria may rank the same one."""
    for name in dict.fromkeys(criterion.name for criterion in plan.criteria):
        ranked = [criterion for criterion in plan.criteria if criterion.name == name]
        yield [
            _Column(name, list(map(number, ranked[0].capacities))),
            *(
                _Column(f"Δ {criterion.difference.replace('_', ' ')}", _differences(criterion.differences))
                for criterion in ranked
            ),
        ]


def _differences(values: Sequence[float]) -> list[str]:
    return [*map(number, values), ""]


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width + GAP for column in columns)


def _table(columns: Sequence[_Column], marks: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column.head, justify="right" if column.right else "left", no_wrap=True)
    rows = zip(*(_padded(column.cells, len(marks)) for column in columns), strict=True)
    for mark, cells in zip(marks, rows, strict=True):
        table.add_row(*cells, style=None if mark == " " else "bold")
    return table


def _padded(cells: Sequence[str], count: int) -> list[str]:
    """As many cells as there are units; plans of earlier versions lack some."""
    return [*cells, *[""] * count][:count]
