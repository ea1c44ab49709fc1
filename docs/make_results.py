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
PICTURES = re.compile(r".*-(oscillation(-[^.]*)?|ablation-merges)\.svg")
"""Names of the figures that the page shows."""


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


METHODS = ("rtn", "adaround", "brecq", "brecq_joint", "qdrop", "pd_quant", "genie_m", "closed_form")
"""The order of the summary's rows."""


def recipe(run: Run) -> str:
    """Say in a few words how a run made its network."""
    options = run.options
    learned = "method.learn_biases" in options or "method.learn_weight_scales" in options
    method = f"{run.method} (Fisher loss)" if "method.loss" in options else run.method
    parts = [
        "re-basis" if options.get("rebasis", "none") != "none" else "",
        "closed form as start" if options.get("method.start") == "closed_form" else "",
        f"{method} + free parameters" if learned else method,
        f"merged by {run.planner}" if run.granularity == "mixed" else "",
        "finished" if options.get("finish", "none") != "none" else "",
    ]
    return ", ".join(filter(None, parts))


def table(runs: Sequence[Run]) -> str:
    """For each network a row for each recipe, a column for each bit width: means of top-1, KL and seconds."""
    found: dict[str, dict[str, dict[str, list[Run]]]] = {}
    for run in sorted(runs, key=lambda run: METHODS.index(run.method) if run.method in METHODS else 99):
        if run.completed and run.quantized is not None:
            bits = f"W{run.bits.weight}A{run.bits.activation}"
            cells = found.setdefault(run.model, {}).setdefault(recipe(run), {})
            cells.setdefault(bits, []).append(run)
    return "\n\n".join(_table(model, rows) for model, rows in found.items())


def _table(model: str, rows: dict[str, dict[str, list[Run]]]) -> str:
    columns = sorted({bits for cells in rows.values() for bits in cells}, reverse=True)
    first = next(iter(next(iter(rows.values())).values()))[0]
    full = "" if first.fp is None else f" (FP {100 * first.fp.top1:.1f} %)"
    lines = [f"| {model}{full} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for title, cells in rows.items():
        lines.append(f"| {title} | {' | '.join(_cell(cells.get(bits, [])) for bits in columns)} |")
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
            if not PICTURES.fullmatch(path.name):
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
