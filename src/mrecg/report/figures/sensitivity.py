"""The picture of sensitivities: what quantizing each unit, or each layer, alone does to the predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mrecg.report.figures.axes import shortened, unit_axis
from mrecg.report.figures.style import PLAIN, SMALL, TWO_COLUMNS, new_figure, paper_style, save
from mrecg.report.palette import COLOURS_LIGHT
from mrecg.runs.sensitivity import Sensitive, Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TINTS = {"weights": COLOURS_LIGHT[3], "activations": PLAIN}
HEIGHT = 1.9
"""Inches of one of the two panels."""
SMALLEST = 1e-5
"""What is drawn at least, as a part of the largest."""
_AXES = {"kl": "KL divergence, nats", "relative_error": "relative error of the outputs"}
MOST = 20
"""Layers in the second panel, at most: those that harm most."""


def sensitivity_figure(found: Sensitivity, path: Path) -> Path:
    """Draw the divergence that each unit causes in the network's order, and the layers that cause most.

    Args:
        found: What was measured.
        path: The file to write, with the ending .png, .svg or .pdf; its folder is made.

    Raises:
        DataError: Another ending, or the file cannot be written.
    """
    title = f"{found.model}: quantized alone, all else in full precision ({found.images} held-out images)"
    units = list(dict.fromkeys(row.name for row in found.of("unit")))
    layers = list(dict.fromkeys(row.name for row in found.worst("layer")))[:MOST]
    with paper_style():
        figure = new_figure(width=TWO_COLUMNS, height=2 * HEIGHT + 1.4)
        top, bottom = figure.subplots(2)
        _panel(top, units, found.of("unit"), "units, in order")
        _panel(bottom, layers, found.of("layer"), f"the {len(layers)} layers that harm most")
        for axes in (top, bottom):
            axes.set_ylabel(_AXES[found.measure])
        unit_axis(top, units, inches=TWO_COLUMNS - 0.6)
        bottom.set_xlim(-0.7, len(layers) - 0.3)
        bottom.set_xticks(
            range(len(layers)), map(shortened, layers), rotation=45, ha="right", rotation_mode="anchor"
        )
        top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=SMALL)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=8)
        return save(figure, path, title=title)


def _panel(axes: "Axes", names: Sequence[str], rows: Sequence[Sensitive], what: str) -> None:
    place = {name: i for i, name in enumerate(names)}
    for side, (quantized, tint) in zip((-0.2, 0.2), TINTS.items(), strict=True):
        own = [row for row in rows if row.quantized == quantized and row.name in place and row.kl > 0]
        at = [place[row.name] + side for row in own]
        axes.bar(at, [row.kl for row in own], width=0.38, color=tint, label=quantized)
    if (most := max((row.kl for row in rows), default=0.0)) > 0:
        axes.set_yscale("log")
        # What is smaller harms nobody, and a logarithm would make long bars of it.
        axes.set_ylim(bottom=most * SMALLEST)
    axes.set_title(what, loc="left", fontweight="normal")
