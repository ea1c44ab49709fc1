"""Make the tables and pictures of docs/results.md from the files in docs/results.

``python docs/make_results.py write`` fills every block of the page between ``<!-- results NAME -->`` and
``<!-- end -->`` with what ``mrecg report docs/results/NAME.json --markdown --figures FOLDER`` makes, and
``check`` says whether that would change the page. ``mrecg report RUNS --json FILE`` makes such a file.
"""

import re
import sys
from pathlib import Path

from mrecg.errors import DataError, MrecgError
from mrecg.report.collection import read_collection
from mrecg.report.compare import panels
from mrecg.report.figures.write import figures_by_panel, paper_figures
from mrecg.report.markdown import markdown

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- results ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
PICTURES = ("-oscillation.svg", "-ablation-merges.svg")
"""Endings of the figures that the page shows."""


def page(docs: Path) -> str:
    """The page as its files say, with those pictures that are there."""

    def block(found: re.Match[str]) -> str:
        runs = read_collection(docs / "results" / f"{found[2]}.json")
        files = sorted((docs / "images" / "results" / found[2]).glob("*.svg"))
        drawn = figures_by_panel(panels(runs), files)
        pictures = {title: [str(path.relative_to(docs)) for path in own] for title, own in drawn.items()}
        return f"{found[1]}\n{markdown(runs, pictures=pictures, level=4)}\n{found[3]}"

    return BLOCK.sub(block, (docs / "results.md").read_text(encoding="utf-8"))


def write(docs: Path = DOCS) -> None:
    """Draw the pictures in place of those that are there, and write the page."""
    file = docs / "results.md"
    for found in BLOCK.finditer(file.read_text(encoding="utf-8")):
        folder = docs / "images" / "results" / found[2]
        for old in folder.glob("*.svg"):
            old.unlink()
        for path in paper_figures(read_collection(docs / "results" / f"{found[2]}.json"), folder):
            if not path.name.endswith(PICTURES):
                path.unlink()
    file.write_text(page(docs), encoding="utf-8")


def check(docs: Path = DOCS) -> None:
    """Refuse a page that `write` would change."""
    if page(docs) != (docs / "results.md").read_text(encoding="utf-8"):
        raise DataError(
            "docs/results.md is not what docs/results says; run python docs/make_results.py write"
        )


if __name__ == "__main__":
    try:
        {"write": write, "check": check}[" ".join(sys.argv[1:])]()
    except KeyError:
        sys.exit("usage: python docs/make_results.py write|check")
    except MrecgError as error:
        sys.exit(f"error: {error}")
