"""Write docs/reference/models.md: every network of conf/model. ``python docs/make_models.py``."""

import logging
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import yaml

from mrecg.config.inputs import ModelConfig
from mrecg.config.paths import CONF
from mrecg.graph.cut import Cut, cut
from mrecg.models.build import build
from mrecg.planner.capacity import comparable

TARGET = Path(__file__).with_name("reference") / "models.md"
GENERIC = ("target", "timm", "torchvision")
"""Files that name no network of their own."""
PIXELS = 96
"""Units do not depend on the size of the images; this is the least that all networks take."""
COLUMNS = (
    "`model=`",
    "parameters (M)",
    "weight layers",
    "units",
    "largest unit",
    "stages",
    "comparable neighbours",
    "trace",
    "not quantized, and why",
)
HEAD = """# Networks

This table shows what `granularity=block` makes of each network in `conf/model/`.
`python docs/make_models.py` writes it, and a test compares it with the code. Any other traceable
network works the same way (`model=torchvision model.name=...`, `model=timm model.name=...`,
`model=target model.target=...`, or `mrecg.quantize(model, images)`).
`mrecg plan planner=modcap model=...` shows its units.

"""
FOOT = """
- **Largest unit** is the number of weight layers of the largest unit.
- **Stages** are the groups of `granularity=stage`.
- **Comparable neighbours** are pairs of units with the same strides, kinds of layer and shortcut,
  for which module capacity was derived. The plan names what differs in the others.
  `planner.not_comparable` excludes them, or ranks them by the loss.
- **Trace** is the tracer that made the graph.
- **Not quantized** lists what stays in full precision. All other layers with weights are quantized.
  First and last layers have 8 bits (`bits.boundary`).
"""


def names() -> list[str]:
    """List the networks that have a file of their own."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem not in GENERIC)


def row(name: str) -> tuple[str, list[str]]:
    """Make the line of one network.

    Args:
        name: The file in conf/model, without its suffix.

    Returns:
        A line of the table, and the notes on its graph.
    """
    config = ModelConfig(**yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text()))
    built = build(config, seed=0)
    channels, height, _ = built.preprocessing.input_shape
    pixels = min(height, PIXELS)
    found = cut(built.model, input_shape=(channels, pixels, pixels))
    return describe(name, sum(p.numel() for p in built.model.parameters()), found)


def describe(name: str, parameters: int, found: Cut) -> tuple[str, list[str]]:
    """Make the line of a network that is cut.

    Args:
        name: The file in conf/model, without its suffix.
        parameters: Number of its parameters.
        found: Its blocks.

    Returns:
        A line of the table, and the notes on its graph.
    """
    facts = [unit.facts for unit in found.units]
    cells = [
        f"`{name}`",
        f"{parameters / 1e6:.2f}",
        sum(len(unit.layers) for unit in found.units),
        len(facts),
        max(len(unit.layers) for unit in found.units),
        facts[-1].stage + 1,
        f"{sum(not comparable(*pair) for pair in pairwise(facts))} of {len(facts) - 1}",
        found.route,
        "; ".join(left_alone(found)) or "–",
    ]
    return _line(cells), [f"- `{name}`: {note}." for note in found.notes if not note.startswith("stays in")]


def left_alone(found: Cut) -> list[str]:
    """Say what stays in floating point.

    Args:
        found: A cut network.

    Returns:
        A phrase for each reason.
    """
    by_reason: dict[str, list[str]] = {}
    for part in found.unquantized:
        by_reason.setdefault(part.reason, []).append(part.name)
    return [f"{len(paths)} × {reason} (`{paths[0]}`)" for reason, paths in by_reason.items()]


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def page(rows: Iterable[tuple[str, list[str]]]) -> str:
    """Put the page together.

    Args:
        rows: What `row` made.

    Returns:
        Markdown.
    """
    lines, notes = zip(*rows, strict=True)
    table = "\n".join([_line(COLUMNS), "|" + "---|" * len(COLUMNS), *lines])
    said = "\n".join(
        [
            "",
            "Units that were cut because of their size:",
            "",
            *(note for several in notes for note in several),
        ]
    )
    return f"{HEAD}{table}\n{FOOT}{said}\n"


def main() -> None:
    """Write the page."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    rows = []
    for name in names():
        rows.append(row(name))
        logging.info("%s", rows[-1][0])
    TARGET.write_text(page(rows))


if __name__ == "__main__":
    main()
