"""Make the tables and pictures of the pages in docs/results from the files beside them.

``python docs/make_results.py write`` fills every block of a page between ``<!-- results NAME -->`` and
``<!-- end -->`` with what ``mrecg report docs/results/NAME.json --markdown --figures FOLDER`` makes, and
``check`` says whether that would change a page. ``mrecg report RUNS --json FILE`` makes such a file.
A block ``<!-- summary NAME NAME ... -->`` gets one table of networks, bits and recipes from several files,
``<!-- correlations -->`` one of how well each measure along the units follows top-1, from all files.
"""

import re
from collections.abc import Mapping, Sequence
from os.path import relpath
from pathlib import Path
from statistics import correlation, fmean

import made

from mrecg.report.collection import read_collection
from mrecg.report.compare import panels
from mrecg.report.figures.write import figures_by_panel, paper_figures
from mrecg.report.markdown import markdown
from mrecg.runs.metrics import METRICS, Metric
from mrecg.runs.records import Run

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- results ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
SUMMARY = re.compile(r"(<!-- summary ([\w -]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
CORRELATIONS = re.compile(r"(<!-- correlations -->\n).*?(<!-- end -->\n)", re.DOTALL)
PICTURES = re.compile(r".*-(oscillation(-[^.]*)?|ablation-merges)\.svg")
"""Names of the figures that the page shows."""


def pages(docs: Path) -> list[Path]:
    """The pages of results."""
    return sorted((docs / "results").glob("*.md"))


def page(docs: Path, file: Path) -> str:
    """A page as its files say, with those pictures that are there."""

    def block(found: re.Match[str]) -> str:
        runs = read_collection(docs / "results" / f"{found[2]}.json")
        files = sorted((docs / "images" / "results" / found[2]).glob("*.svg"))
        drawn = figures_by_panel(panels(runs), files)
        pictures = {title: [relpath(path, file.parent) for path in own] for title, own in drawn.items()}
        return f"{found[1]}\n{markdown(runs, pictures=pictures, level=4)}\n{found[3]}"

    def summary(found: re.Match[str]) -> str:
        files = [docs / "results" / f"{name}.json" for name in found[2].split()]
        return f"{found[1]}\n{table([run for file in files for run in read_collection(file)])}\n\n{found[3]}"

    def measures(found: re.Match[str]) -> str:
        return f"{found[1]}\n{correlation_table(result_sets(docs / 'results'))}\n\n{found[2]}"

    text = file.read_text(encoding="utf-8")
    return CORRELATIONS.sub(measures, SUMMARY.sub(summary, BLOCK.sub(block, text)))


METHODS = ("rtn", "adaround", "brecq", "brecq_joint", "qdrop", "pd_quant", "genie_m", "closed_form")
"""The order of the summary's rows."""


def _start(options: Mapping[str, str]) -> str:
    share = options.get("method.start_share")
    begun = f" (share {share})" if share else ""
    return f"closed form as start{begun}" if options.get("method.start") == "closed_form" else ""


def recipe(run: Run) -> str:
    """Say in a few words how a run made its network."""
    options = run.options
    learned = "method.learn_biases" in options or "method.learn_weight_scales" in options
    method = f"{run.method} (Fisher loss)" if "method.loss" in options else run.method
    parts = [
        "re-basis" if options.get("rebasis", "none") != "none" else "",
        f"ranges of norm {options['calibration.norm']}" if "calibration.norm" in options else "",
        "activation ranges by output" if options.get("calibration.activation_range") == "output" else "",
        _start(options),
        f"{method} + free parameters, {run.steps} steps" if learned else method,
        "these learned on" if options.get("method.settle_steps") else "",
        f"merged by {run.planner}" if run.granularity == "mixed" else "",
        "finished" if options.get("finish", "none") != "none" else "",
        f"crops of at least {options['finish.crop']}" if "finish.crop" in options else "",
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


MEASURES = ("loss_peak", "head_error", "regrowth", "index", "peak", "loss_index", "last_error")
"""Of `METRICS`, those of the curves along the units: the smaller, the better, if they tell anything."""
FEWEST = 3
"""Runs that a rank correlation is computed of."""


def result_sets(folder: Path) -> dict[str, list[Run]]:
    """The runs of each file that share network, images, bit widths and base units, with their results."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        for panel in panels([run for run in read_collection(file) if run.quantized is not None]):
            runs = [run for series in panel.series for run in series.runs]
            if len(runs) >= FEWEST:
                found[f"{file.stem}: {panel.title}"] = runs
    return found


def rank_correlation(metric: Metric, runs: Sequence[Run]) -> float | None:
    """Spearman's correlation of a measure with top-1; None where either is the same in all runs."""
    pairs = [
        (value, run.quantized.top1)
        for run in runs
        if run.quantized and (value := metric.value(run)) is not None
    ]
    measured, top1 = [value for value, _ in pairs], [accuracy for _, accuracy in pairs]
    if len(pairs) < FEWEST or len(set(measured)) == 1 or len(set(top1)) == 1:
        return None
    return correlation(_ranks(measured), _ranks(top1))


def _ranks(values: Sequence[float]) -> list[float]:
    """The place of each value in ascending order; equal ones share the mean of theirs."""
    return [sum(one < value for one in values) + values.count(value) / 2 for value in values]


def correlations(sets: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, float | None]]:
    """The rank correlation with top-1 of each measure in each set of runs."""
    by_key = {metric.key: metric for metric in METRICS}
    return {
        key: {name: rank_correlation(by_key[key], runs) for name, runs in sets.items()} for key in MEASURES
    }


def right_signs(found: Mapping[str, float | None]) -> tuple[int, int]:
    """In how many sets a measure falls where top-1 rises, and in how many it varies at all."""
    known = [value for value in found.values() if value is not None]
    return sum(value < 0 for value in known), len(known)


def correlation_table(sets: Mapping[str, Sequence[Run]]) -> str:
    """A row for each set of runs, a column for each measure, and how often its sign is right."""
    found = correlations(sets)
    titles = {metric.key: metric.title for metric in METRICS}
    lines = [
        f"| runs | n | {' | '.join(titles[key] for key in MEASURES)} |",
        f"|---|---:|{'---:|' * len(MEASURES)}",
    ]
    for name, runs in sets.items():
        values = [found[key][name] for key in MEASURES]
        cells = ["–" if value is None else f"{value:+.2f}".replace("-", "−") for value in values]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    signs = [" of ".join(map(str, right_signs(found[key]))) for key in MEASURES]
    return "\n".join([*lines, f"| **right sign** | | {' | '.join(signs)} |"])


def write(docs: Path = DOCS) -> None:
    """Draw the pictures in place of those that are there, and write the pages."""
    for file in pages(docs):
        for found in BLOCK.finditer(file.read_text(encoding="utf-8")):
            folder = docs / "images" / "results" / found[2]
            for old in folder.glob("*.svg"):
                old.unlink()
            for path in paper_figures(read_collection(docs / "results" / f"{found[2]}.json"), folder):
                if not PICTURES.fullmatch(path.name):
                    path.unlink()
        file.write_text(page(docs, file), encoding="utf-8")


def check(docs: Path = DOCS) -> None:
    """Refuse a page that `write` would change."""
    says = "docs/results says; run python docs/make_results.py write"
    made.refuse_changed(pages(docs), lambda file: page(docs, file), says)


if __name__ == "__main__":
    made.run({"write": write, "check": check})
