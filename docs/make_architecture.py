"""Draw the packages: ``python docs/make_architecture.py write`` makes docs/images/architecture.svg.

Floors are the layers that import-linter holds (pyproject.toml). A line leads from a package to one that it
imports, unless it reaches that one through others, too. ``check`` tells whether the drawing is up to date.
"""

import ast
import sys
import tomllib
from collections.abc import Iterable
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "mrecg"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT, GAP, FLOOR = 258, 68, 30, 118
STYLE = """
  svg { font-family: system-ui, sans-serif; background: #fff }
  .room { fill: #f4f6fa; stroke: #5b6b8c } .line { stroke: #9aa7bf; fill: none } .tip { fill: #9aa7bf }
  .name { font-size: 15px; font-weight: 600; fill: #1b2640 } .says { font-size: 11px; fill: #44506b }
  @media (prefers-color-scheme: dark) {
    svg { background: #12161f } .room { fill: #1d2431; stroke: #7f92b8 }
    .line { stroke: #55637f } .tip { fill: #55637f }
    .name { fill: #e8edf7 } .says { fill: #b4bfd4 }
  }
"""


def floors() -> list[list[str]]:
    """Read the packages of each floor, the top one first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def sentence(name: str) -> str:
    """Read the first sentence of a package's docstring."""
    file = PACKAGE / name / "__init__.py"
    file = file if file.is_file() else PACKAGE / f"{name}.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return " ".join((text or "").split("\n\n")[0].split()).replace("`", "")


def imports(names: Iterable[str]) -> dict[str, set[str]]:
    """Find which packages each package imports, also inside functions and for types."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for name in found:
        files = (PACKAGE / name).rglob("*.py") if (PACKAGE / name).is_dir() else [PACKAGE / f"{name}.py"]
        for file in files:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mrecg"):
                    parts = (node.module or "").split(".")
                    found[name] |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return {
        name: {other for other in others if other in found and other != name}
        for name, others in found.items()
    }


def direct(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Leave out every import that a longer way says as well."""

    def reached(start: str) -> set[str]:
        return set().union(*({other} | reached(other) for other in graph[start]))

    ways = {name: reached(name) for name in graph}
    return [
        (name, other)
        for name, others in graph.items()
        for other in sorted(others)
        if not any(other in ways[between] for between in others - {other})
    ]


def picture() -> str:
    """Draw it."""
    rows = floors()
    widest = max(len(row) for row in rows)
    whole = widest * (WIDTH + GAP) + GAP
    places = {}
    for at, row in enumerate(rows):
        start = (whole - len(row) * (WIDTH + GAP) + GAP) / 2
        for i, name in enumerate(row):
            places[name] = (start + i * (WIDTH + GAP), GAP + at * FLOOR)
    parts = []
    for name, other in direct(imports(places)):
        (x, y), (to_x, to_y) = places[name], places[other]
        begin, end = (x + WIDTH / 2, y + HEIGHT), (to_x + WIDTH / 2, to_y)
        bend = (end[1] - begin[1]) / 2
        parts.append(
            f'<path class="line" marker-end="url(#tip)" d="M{begin[0]:.0f} {begin[1]:.0f} C{begin[0]:.0f} '
            f'{begin[1] + bend:.0f} {end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1] - 4:.0f}"/>'
        )
    for name, (x, y) in places.items():
        parts.append(f'<rect class="room" x="{x:.0f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>')
        parts.append(f'<text class="name" x="{x + 12:.0f}" y="{y + 20}">{escape(name)}</text>')
        says = sentence(name).split(": ", 1)[-1]
        for i, line in enumerate(wrap(says[:1].upper() + says[1:], 40)[:3]):
            parts.append(f'<text class="says" x="{x + 12:.0f}" y="{y + 34 + 12 * i}">{escape(line)}</text>')
    height = GAP + len(rows) * FLOOR
    tip = '<path class="tip" d="M0 0L6 3L0 6z"/>'
    tip = f'<marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">{tip}</marker>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" role="img">',
            "<title>The packages of mrecg by floors: each imports only packages below it</title>",
            f"<style>{STYLE}</style><defs>{tip}</defs>",
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        PICTURE.write_text(picture(), encoding="utf-8")
    elif sys.argv[1:] == ["check"]:
        sys.exit(
            0
            if PICTURE.read_text(encoding="utf-8") == picture()
            else f"{PICTURE.name} is old: python {sys.argv[0]} write"
        )
    else:
        sys.exit(__doc__)
