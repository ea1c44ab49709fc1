"""Colours of configurations that differ in a number of merges: one hue, from faint to strong."""

from collections.abc import Mapping, Sequence

from mrecg.report.compare import Panel, all_but_merges, merge_count
from mrecg.report.palette import COLOURS_DARK, COLOURS_LIGHT, Look, ramp

SHADES = 12
"""Shades of the sequence."""
LEAST = 3
"""Numbers of merges from which on they are a sequence."""
_ENDS_LIGHT = ((0x8F, 0xC1, 0xE3), (0x1D, 0x78, 0xB8), (0x06, 0x24, 0x4A))
_ENDS_DARK = ((0x2F, 0x5F, 0x87), (0x5F, 0xAE, 0xEA), (0xE6, 0xF4, 0xFF))


def palette() -> dict[str, list[str]]:
    """The colours of the page by its theme: those of all figures, then the sequence."""
    return {
        "light": [*COLOURS_LIGHT, *ramp(SHADES, _ENDS_LIGHT)],
        "dark": [*COLOURS_DARK, *ramp(SHADES, _ENDS_DARK)],
    }


def in_sequence(panels: Sequence[Panel], looks: Mapping[str, Look]) -> dict[str, Look]:
    """Give configurations that differ in the number of merges shades of one hue.

    Args:
        panels: All that is shown together.
        looks: By label.

    Returns:
        Looks by label; those that differ in the number of merges alone, in `LEAST` or more, are a sequence.
    """
    counts: dict[tuple[object, ...], dict[str, int]] = {}
    for series in (series for panel in panels for series in panel.series if series.merging):
        number = merge_count(series.first)
        if number is not None:
            counts.setdefault(all_but_merges(series.first), {})[series.label] = number
    # Of several families none can have the one hue.
    families = [family for family in counts.values() if len(set(family.values())) >= LEAST]
    if len(families) != 1:
        return dict(looks)
    (family,) = families
    order = sorted(set(family.values()))
    found = dict(looks)
    for label, number in family.items():
        shade = round(order.index(number) * (SHADES - 1) / (len(order) - 1))
        found[label] = Look(colour_index=len(COLOURS_LIGHT) + shade, dash="solid", marker="circle")
    return found
