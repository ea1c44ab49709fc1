"""Make the tables and pictures of docs/results.md from the files in docs/results.

``python docs/make_results.py write`` fills every block of the page between ``<!-- results NAME -->`` and
``<!-- end -->`` with what ``mrecg report docs/results/NAME.json --markdown --figures FOLDER`` makes, and
``check`` says whether that would change the page. ``mrecg report RUNS --json FILE`` makes such a file.
A block ``<!-- summary NAME NAME ... -->`` gets one table of networks, bits and recipes from several files.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from mrecg.errors import DataError, MrecgError
from mrecg.report.collection import read_collection
from mrecg.report.compare import panels
from mrecg.report.figures.write import figures_by_panel, paper_figures
from mrecg.report.markdown import markdown
from mrecg.runs.records import Run

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- results ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
SUMMARY = re.compile(r"(<!-- summary ([\w -]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
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

    def summary(found: re.Match[str]) -> str:
        files = [docs / "results" / f"{name}.json" for name in found[2].split()]
        return f"{found[1]}\n{table([run for file in files for run in read_collection(file)])}\n\n{found[3]}"

    return SUMMARY.sub(summary, BLOCK.sub(block, (docs / "results.md").read_text(encoding="utf-8")))


RECIPES = ("rtn", "closed_form", "brecq_joint", "qdrop", "qdrop merged", "best")
"""Columns of the summary, in order; runs of other recipes are in the tables below it."""


def recipe(run: Run) -> str:
    """Name the recipe of a run as the summary calls it."""
    if run.options.get("finish", "none") != "none":
        return "best" if run.granularity == "mixed" else "finished blocks"
    return f"{run.method} merged" if run.granularity == "mixed" else run.method


def table(runs: Sequence[Run]) -> str:
    """One row for each network and bits, one column for each recipe: means of top-1, KL to FP and seconds."""
    rows: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        if run.completed and run.quantized is not None and recipe(run) in RECIPES:
            bits = f"W{run.bits.weight}A{run.bits.activation}"
            rows.setdefault(f"{run.model} {bits}", {}).setdefault(recipe(run), []).append(run)
    shown = [name for name in RECIPES if any(name in cells for cells in rows.values())]
    lines = [f"| | FP | {' | '.join(shown)} |", f"|---|---|{'---|' * len(shown)}"]
    for title, cells in rows.items():
        first = next(iter(cells.values()))[0]
        full = "–" if first.fp is None else f"{100 * first.fp.top1:.1f}"
        lines.append(f"| {title} | {full} | {' | '.join(_cell(cells.get(name, [])) for name in shown)} |")
    return "\n".join(lines)


def _cell(runs: Sequence[Run]) -> str:
    if not runs:
        return "–"
    top1 = fmean(100 * run.quantized.top1 for run in runs if run.quantized)
    kls = [run.to_fp.kl for run in runs if run.to_fp and run.to_fp.kl is not None]
    kl = f", KL {fmean(kls):.2f}" if len(kls) == len(runs) else ""
    seeds = f" ({len(runs)} seeds)" if len(runs) > 1 else ""
    return f"{top1:.1f}{kl}, {fmean(run.total_seconds for run in runs):.0f} s{seeds}"


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
