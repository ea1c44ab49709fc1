"""How a configuration looks, the same everywhere on a page. The colours are close to Okabe and Ito's."""

from collections.abc import Sequence
from dataclasses import dataclass

from mrecg.report import svg
from mrecg.report.compare import GRANULARITIES, Panel, Series

_METHOD_COLOURS = {
    "rtn": 0,
    "adaround": 1,
    "brecq": 2,
    "brecq_joint": 3,
    "qdrop": 4,
    "pd_quant": 5,
    "genie_m": 6,
}
_SERIES_COLOURS = (2, 4, 5, 6, 1, 3, 0)
"""With one method on the page, colours tell configurations apart: the strongest contrast first."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Looks of a series.

    Attributes:
        colour: Number of the colour in the style sheet.
        dash: Name of the line pattern: the granularity.
        shape: Marker; see `svg.marker`.
        hollow: Whether the marker is an outline.
    """

    colour: int
    dash: str
    shape: int
    hollow: bool

    @property
    def classes(self) -> str:
        """CSS classes of what has this colour and pattern."""
        return f"c{self.colour} d-{self.dash}"

    @property
    def marker_class(self) -> str:
        """CSS class of its markers."""
        return "mark hollow" if self.hollow else "mark"

    @property
    def swatch(self) -> str:
        """A piece of the line with its marker, for a legend."""
        attributes: dict[str, svg.Attribute] = {
            "class": self.classes,
            "viewBox": "0 0 34 12",
            "aria-hidden": "true",
        }
        line = svg.path([(1.0, 6.0), (33.0, 6.0)], "curve")
        return svg.element("svg", attributes, line, svg.marker(self.shape, 17.0, 6.0, self.marker_class))


def colour_rule(panels: Sequence[Panel]) -> str:
    """Say what colours mean on this page.

    Args:
        panels: All panels of the page.

    Returns:
        "method" where there are several, else "configuration".
    """
    methods = {series.first.method for panel in panels for series in panel.series}
    return "method" if len(methods) > 1 else "configuration"


def styles(panels: Sequence[Panel]) -> dict[str, Style]:
    """Choose the looks of every series.

    Args:
        panels: All panels of the page.

    Returns:
        Styles by the label of the series.
    """
    by_method = colour_rule(panels) == "method"
    unknown: list[str] = []
    rivals: dict[tuple[str, str], int] = {}
    chosen: dict[str, Style] = {}
    for series in (series for panel in panels for series in panel.series):
        if series.label in chosen:
            continue
        run = series.first
        if by_method and run.method not in _METHOD_COLOURS and run.method not in unknown:
            unknown.append(run.method)
        shape = rivals.get((run.method, run.granularity), 0)
        rivals[run.method, run.granularity] = shape + 1
        chosen[series.label] = Style(
            colour=_method_colour(series, unknown) if by_method else _SERIES_COLOURS[len(chosen) % 7],
            dash=run.granularity if run.granularity in GRANULARITIES else "other",
            shape=shape,
            hollow=run.granularity in ("block", "layer"),
        )
    return chosen


def _method_colour(series: Series, unknown: Sequence[str]) -> int:
    method = series.first.method
    return _METHOD_COLOURS[method] if method in _METHOD_COLOURS else (5, 6, 1, 3)[unknown.index(method) % 4]
