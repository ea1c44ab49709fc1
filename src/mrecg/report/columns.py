"""One column a unit, and the units' names under an axis: shared by all charts that run along the units."""

from collections.abc import Sequence
from dataclasses import dataclass

from mrecg.report import svg

LETTER = 6.1
"""Width of a letter of a label, px, about."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where the units stand.

    Attributes:
        units: Names in network order.
        left: Where the first column starts, px.
        band: Width of a column, px.
        width: Width of the picture, px.
    """

    units: tuple[str, ...]
    left: float
    band: float
    width: float

    def centre(self, index: float) -> float:
        """Centre of a column, px; that of a pair is half-way."""
        return self.left + (index + 0.5) * self.band

    @property
    def centres(self) -> list[float]:
        """Centres of all columns, px."""
        return [self.centre(i) for i in range(len(self.units))]

    @property
    def least_width(self) -> str:
        """Style of a picture that scrolls sideways rather than become too small to read."""
        return f"min-width:{max(900, len(self.units) * 18)}px"

    def span(self, group: Sequence[str]) -> tuple[float, float]:
        """Left edge and width of the columns of a group, px."""
        first = self.units.index(group[0])
        return self.left + first * self.band, len(group) * self.band


def columns(units: Sequence[str], *, left: float, right: float) -> Columns:
    """Share a picture's width among units.

    Args:
        units: Names in network order.
        left: Margin, px, at least.
        right: Margin, px.

    Returns:
        The columns.
    """
    # A name that is turned by 45 degrees reaches to the left of its column.
    left = max(left, min(26, max(map(len, units))) * LETTER * 0.72 - 8)
    width = max(1100.0, len(units) * 20 + left + right)
    return Columns(units=tuple(units), left=left, band=(width - left - right) / len(units), width=width)


def unit_labels(at: Columns, y: float) -> tuple[str, float]:
    """Write the names of the units under an axis, turned where they are long.

    Args:
        at: The columns.
        y: Where the names start, px.

    Returns:
        Markup and its height in px.
    """
    names = [name if len(name) <= 26 else f"{name[:10]}…{name[-15:]}" for name in at.units]
    longest = max(map(len, names)) * LETTER
    flat, steep = longest < at.band - 4, at.band <= 16
    angle = 0 if flat else -90 if steep else -45
    texts = []
    for unit, name, x in zip(at.units, names, at.centres, strict=True):
        turn: dict[str, svg.Attribute] = {} if flat else {"transform": f"rotate({angle} {x:.1f} {y:.1f})"}
        anchor = "middle" if flat else "end"
        label = svg.text(x, y, name, class_="unit", text_anchor=anchor, dy=3.0 if steep else 0.0, **turn)
        texts.append(svg.element("g", None, svg.title(unit), label))
    return "".join(texts), 6.0 if flat else longest * (1.0 if steep else 0.72) + 8
