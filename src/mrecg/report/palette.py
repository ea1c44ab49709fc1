"""How a configuration looks, the same on every figure and page: hue, shade, dash and marker.

The hues are Okabe and Ito's (jfly.uni-koeln.de/color, 2008) with a dark grey for their black and a wine for
their yellow, which white paper swallows. Dash and marker repeat what the colour says, so that a figure reads
in greyscale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mrecg.report.compare import BASELINE, Panel, Series

HUES = 8
"""Base colours; each has a second shade, `HUES` places on, that stands out more from the background."""

COLOURS_LIGHT = (
    *("#444c54", "#e69f00", "#56b4e9", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c2f66"),
    *("#1e252d", "#b47000", "#1d85b8", "#004682", "#a22d00", "#007049", "#9b4d7a", "#5c003d"),
)
"""On a light background: grey, orange, sky, blue, vermilion, green, purple, wine; then their deep shades."""

COLOURS_DARK = (
    *("#dde3e8", "#f2b134", "#74c4f2", "#3f93dc", "#f0763a", "#22b98a", "#d98bb9", "#b0458a"),
    *("#fbffff", "#ffce58", "#91e1ff", "#5db0fb", "#ff9358", "#4dd6a6", "#f7a7d6", "#ce61a6"),
)
"""The same on a dark background."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Every line pattern, by Plotly's names."""

MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star")
"""Every filled marker, by Plotly's names; with ``-open`` after it the marker is an outline."""

MAX_VARIANTS = 3
"""Configurations of one kind that a hue can hold; with more of them each configuration has its own hue."""

_METHODS = {
    "rtn": 0,
    "adaround": 1,
    "brecq": 2,
    "brecq_joint": 3,
    "qdrop": 4,
    "pd_quant": 5,
    "genie_m": 6,
    "closed_form": 7,
}
"""Hue by method, where several are shown."""

_KINDS = {
    "block": (0, 0, "dash", "circle-open"),
    "layer": (2, 0, "dot", "square-open"),
    "stage": (7, 0, "longdashdot", "triangle-up-open"),
    "network": (1, 0, "longdash", "diamond-open"),
    "fixed": (1, 1, "dashdot", "x"),
    "safe": (3, 0, "solid", "star"),
    "loss": (4, 0, "solid", "circle"),
    "modcap": (3, 1, "solid", "square"),
    "error": (6, 1, "dashdot", "diamond"),
    "budget": (5, 0, "longdashdot", "triangle-up"),
    "pack": (6, 0, "dot", "x"),
    "published": (7, 1, "longdash", "triangle-down"),
}
"""By granularity, or planner: hue where one method is shown, shade where several are, dash, marker."""

_OTHER = (7, 1, "dot", "star")
_IN_TURN = (4, 3, 5, 6, 1, 2, 7, 12, 11, 13, 14, 9, 10, 15)
"""Colours of configurations that are not told apart by method or kind: strong contrasts first."""


def colour_of(method: str, *, merged: bool) -> str:
    """A method's colour on a light background where nothing but the name of the method is known.

    Args:
        method: Its name in the configuration.
        merged: Whether neighbours are merged; blocks alone have the deep shade.
    """
    hue = _METHODS.get(method, _OTHER[0])
    return COLOURS_LIGHT[hue if merged else hue + HUES]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Looks of a configuration.

    Attributes:
        colour_index: Place in `COLOURS_LIGHT` and `COLOURS_DARK`.
        dash: One of `DASHES`.
        marker: One of `MARKERS`, or that with ``-open`` for the granularities without merges.
    """

    colour_index: int
    dash: str
    marker: str


def colour_rule(panels: Sequence[Panel]) -> str:
    """Say what the hue means.

    Args:
        panels: All that is shown together.

    Returns:
        "method" where there are several; "kind" (granularity or planner) where there is one; "configuration"
        where one kind has more than `MAX_VARIANTS` configurations.
    """
    if len({series.first.method for panel in panels for series in panel.series}) > 1:
        return "method"
    sizes: dict[str, set[str]] = {}
    for series in (series for panel in panels for series in panel.series):
        sizes.setdefault(kind(series), set()).add(series.label)
    return "configuration" if any(len(s) > MAX_VARIANTS for s in sizes.values()) else "kind"


def kind(series: Series) -> str:
    """Name what made a configuration's groups.

    Returns:
        Its planner where it has one, else its granularity; that of the baseline where a plan merges nothing.
    """
    if series.first.granularity == "mixed" and not series.merging:
        return BASELINE
    return series.first.planner or series.first.granularity


def looks(panels: Sequence[Panel]) -> dict[str, Look]:
    """Choose the looks of every configuration.

    Method and kind decide by fixed tables, so a run that is added leaves the others as they were; only a
    second method (or a fourth configuration of one kind) changes the rule by which all are coloured.

    Args:
        panels: All that is shown together.

    Returns:
        Looks by the label of the series.
    """
    rule = colour_rule(panels)
    variants: dict[tuple[str, str], int] = {}
    chosen: dict[str, Look] = {}
    turn = 0
    for series in (series for panel in panels for series in panel.series):
        if series.label in chosen:
            continue
        key = (series.first.method, kind(series))
        variant = variants.get(key, 0)
        variants[key] = variant + 1
        look = look_of(*key, rule=rule, variant=variant)
        if rule == "configuration" and kind(series) not in ("block", "layer"):
            look = replace(look, colour_index=_IN_TURN[turn % len(_IN_TURN)])
            turn += 1
        chosen[series.label] = look
    return chosen


def looks_by_panel(panels: Sequence[Panel]) -> list[tuple[dict[str, Look], str]]:
    """Choose looks for figures that stand alone: what one network's panels need does not bind another's.

    Returns:
        For each panel the looks and the `colour_rule`; panels of one network share both.
    """
    networks = [panel.series[0].first.model for panel in panels]
    of_network = {
        name: [panel for panel, network in zip(panels, networks, strict=True) if network == name]
        for name in networks
    }
    return [(looks(of_network[name]), colour_rule(of_network[name])) for name in networks]


def look_of(method: str, made_by: str, *, rule: str, variant: int = 0) -> Look:
    """Choose the looks of what a method and a kind have in common.

    Args:
        method: Name of the method.
        made_by: The `kind`.
        rule: What the hue means, as of `colour_rule`.
        variant: How many of the same method and kind came before.
    """
    hue, shade, dash, marker = _KINDS.get(made_by, _OTHER)
    if rule == "method":
        hue = _METHODS.get(method, HUES - 1)
    else:
        shade = variant % 2
    return Look(
        colour_index=hue + HUES * shade,
        dash=DASHES[(DASHES.index(dash) + variant) % len(DASHES)],
        marker=_shift(marker, variant),
    )


_RAMP = ((0x8A, 0xBB, 0xDE), (0x1D, 0x78, 0xB8), (0x08, 0x2A, 0x54))


def ramp(count: int, ends: Sequence[tuple[int, int, int]] = _RAMP) -> list[str]:
    """Colours of a sequence, for example of numbers of merges: one hue, from faint to strong.

    Args:
        count: Members of the sequence.
        ends: The faintest colour, that in the middle and the strongest, as red, green and blue.

    Returns:
        As "#rrggbb"; by default for a light background, on which the lightest one can be seen.

    >>> ramp(3)
    ['#8abbde', '#1d78b8', '#082a54']
    """
    found = []
    for i in range(count):
        at = 2 * i / (count - 1) if count > 1 else 1.0
        low = min(int(at), 1)
        mixed = (round(a + (at - low) * (b - a)) for a, b in zip(ends[low], ends[low + 1], strict=True))
        found.append("#" + "".join(f"{channel:02x}" for channel in mixed))
    return found


def _shift(marker: str, places: int) -> str:
    name, hollow, _ = marker.partition("-open")
    return MARKERS[(MARKERS.index(name) + places) % len(MARKERS)] + hollow
