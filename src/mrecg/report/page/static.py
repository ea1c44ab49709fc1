"""What pages without scripts are made of: text files, pictures as addresses, curves as paths."""

import base64
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mrecg.runs.records import Curve, short_group
from mrecg.system.atomic_write import write_durably

POINTS = 60
"""Points of a curve, at most."""
WIDTH, HEIGHT = 200, 84
"""Of a small chart, in its own units."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A loss curve as paths of an SVG.

    Attributes:
        title: The group and, of a two-pass method, the pass.
        line: The loss on a logarithmic scale, as the ``d`` of a path.
        floor: Height of the loss in full precision; None where it was not measured or lies outside.
        first: The first loss, as text.
    """

    title: str
    line: str
    floor: float | None
    first: str
    last: str


def write_text(out: Path, text: str, *, named: bool = False) -> Path:
    """Write a file, and make its folder; it is there whole, or as it was before.

    Args:
        text: What to write.
        named: Whether the user has named this very file, see `write_durably`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode(errors="replace")  # a folder's name need not be UTF-8
    write_durably(out, content, follow=named)
    return out


def picture(draw: Callable[[Path], Path]) -> str:
    """Draw a picture as an address that holds it.

    Args:
        draw: Writes it to a file whose name ends in .svg.

    Returns:
        The address, for the ``src`` of an image: there, other than between a page's own elements, a picture
        has no say in the page, and names in it that repeat meet none of another picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        content = draw(Path(folder) / "picture.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode('ascii')}"


def charts(curves: Sequence[Curve], groups: Sequence[Sequence[str]]) -> list[Chart]:
    """Draw loss curves.

    Args:
        curves: Of one run.

    Returns:
        One chart each; curves without a loss above zero have none.
    """
    names = {"+".join(group): short_group(group) for group in groups}
    found = []
    for curve in curves:
        points = [
            (x, y) for x, y in zip(curve.steps, curve.losses, strict=True) if math.isfinite(y) and y > 0
        ]
        if points:
            name = names.get(curve.group, curve.group)
            found.append(_chart(f"{name}, {curve.stage}" if curve.stage else name, points, curve.floor))
    return found


def _chart(title: str, points: Sequence[tuple[float, float]], floor: float | None) -> Chart:
    thin = _thin(points)
    values = [y for _, y in thin] + ([floor] if floor is not None and floor > 0 else [])
    low, high = math.log(min(values)), math.log(max(values))
    last = points[-1][0] or 1.0

    def up(value: float) -> float:
        return 4 + (HEIGHT - 8) * (1 - (math.log(value) - low) / (high - low) if high > low else 0.5)

    places = [f"{WIDTH * x / last:.1f} {up(y):.1f}" for x, y in thin]
    return Chart(
        title=title,
        line=f"M{'L'.join(places)}",
        floor=round(up(floor), 1) if floor is not None and floor > 0 else None,
        first=f"{points[0][1]:.3g}",
        last=f"{points[-1][1]:.3g}",
    )


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of neighbouring points."""
    bins = min(len(points), POINTS)
    edges = [round(i * len(points) / bins) for i in range(bins + 1)]
    return [
        (
            sum(x for x, _ in points[a:b]) / (b - a),
            sum(y for _, y in points[a:b]) / (b - a),
        )
        for a, b in pairwise(edges)
    ]
