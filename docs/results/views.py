"""Views of docs/results/NAME.json in Markdown: what stands between the markers of docs/results.md."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

from mrecg.runs.records import short_groups
from results.lines import chosen, merge_counts
from results.records import Configuration, Record, Results, varying
from results.words import NONE, Words, items, listed, number, percent, plain, spread, title, whole

IDENTITY = ("bits", "method", "granularity")
NUMBERS = {
    "error_index": "error index",
    "error_peak": "error peak",
    "loss_index": "loss index",
    "last_error": "last error",
}
"""Columns of means by measure."""


def table(results: Results) -> str:
    """One row a configuration.

    Args:
        results: The runs.

    Returns:
        A table; columns of settings only where they differ. The best mean top-1 at equal bit widths is bold.
    """
    rows, words = results.configurations, Words(results.configurations)
    best = _best(rows, [c.width for c in rows])
    columns: list[tuple[str, list[str], bool]] = [
        (name, [getattr(words, name)(c) for c in rows], False) for name in IDENTITY
    ]
    columns += [
        (title(key), [words.extras(c)[place][1] for c in rows], True)
        for place, key in enumerate(words.settings)
    ]
    if len(rows) > 1:
        columns = [column for column in columns if len(set(column[1])) > 1]
    columns += _results_columns(rows, best)
    columns.append(("seconds", [whole(c.mean("seconds")) for c in rows], True))
    if any(run["groups"] for run in results.runs if run["method"] != "rtn"):
        columns.append(("merged groups", [_merged(c) for c in rows], False))
    return _laid_out(columns)


def merge_count(results: Results) -> str:
    """Number of merged pairs against what it does.

    Args:
        results: The runs.

    Returns:
        A table and its picture.
    """
    series = merge_counts(results)
    rows = [configuration for line in series for _, configuration in line.points]
    labels = [line.label for line in series for _ in line.points]
    columns: list[tuple[str, list[str], bool]] = [("runs", labels, False)] if len(series) > 1 else []
    columns.append(("k", [_count(k, c) for line in series for k, c in line.points], True))
    columns += _results_columns(rows, _best(rows, labels))
    words = "Top-1, error index and error peak against the number of merged pairs"
    return f"{_laid_out(columns)}\n\n{_picture(results, 'merge_count', words)}"


def curves(results: Results) -> str:
    """Error and loss along the units.

    Args:
        results: The runs.

    Returns:
        The picture and what it leaves out.
    """
    lines = chosen(results)
    network, widths = results.shared["settings"]["model.name"], listed(lines.widths)
    words = f"Relative error and reconstruction loss behind each unit of {network}, {lines.method}, {widths}"
    notes = ["Means over the seeds."] if any(len(c.runs) > 1 for c in lines.drawn) else []
    notes += ["Merged groups are thick."] if any(c["groups"] for c in lines.drawn) else []
    notes += [f"{lines.left_out} more lines of {lines.method} are not drawn."] if lines.left_out else []
    return "\n\n".join([_picture(results, "curves", words), *([" ".join(notes)] if notes else [])])


def settings(results: Results) -> str:
    """What all runs share.

    Args:
        results: The runs.

    Returns:
        A list.
    """
    shared, runs = results.shared["settings"], results.runs
    words, first = Words(results.configurations), results.configurations[0]
    rest = {key: value for key, value in shared.items() if key not in _SAID}
    constant = [
        text
        for text, others in (
            (f"`{first['method']}`", {c["method"] for c in words.all}),
            (first.width, {c.width for c in words.all}),
            (words.granularity(first), {words.granularity(c) for c in words.all}),
        )
        if len(others) == 1 and text != NONE
    ]
    bits = set(first["bits"]) - {"weight", "activation"} - set(words.bits_keys)
    lines = [
        _network(results, shared),
        ", ".join(text for key, say in _SAID.items() if say and key in shared for text in [say(shared)]),
        ", ".join([*constant, *(f"bits.{text}" for text in items(first["bits"], sorted(bits)))]),
        *_options(results.configurations),
        ", ".join(items(rest, sorted(rest))),
        _seeds(results.configurations),
        _accuracy(runs, shared),
        _environment(results.shared["environment"]),
    ]
    return "\n".join(f"- {line[0].upper()}{line[1:]}." for line in lines if line)


VIEWS: dict[str, Callable[[Results], str]] = {
    "table": table,
    "curves": curves,
    "merge_count": merge_count,
    "settings": settings,
}
"""Every view by its name in a marker."""

_SAID: dict[str, Callable[[Record], str] | None] = {
    **dict.fromkeys(
        (
            "model.name",
            "model.input_shape",
            "weights",
            "weights_sha256",
            "data.name",
            "data.evaluated_images",
            "trainer.steps_per",
        )
    ),
    "data.calibration_images": lambda s: f"{plain(s['data.calibration_images'])} calibration images",
    "trainer.steps": lambda s: f"{plain(s['trainer.steps'])} steps a {s.get('trainer.steps_per', 'unit')}",
    "trainer.batch_size": lambda s: f"batches of {plain(s['trainer.batch_size'])}",
    "trainer.lr_factor": lambda s: f"learning rates × {plain(s['trainer.lr_factor'])}",
}
"""Settings that are said in words of their own."""


def _network(results: Results, shared: Record) -> str:
    size = shared.get("model.input_shape")
    texts = [f"{plain(size)} pixels"] if size else []
    texts += [f"{len(results.units)} units"]
    if "weights" in shared:
        sha = f" (sha256 {shared['weights_sha256']})" if "weights_sha256" in shared else ""
        texts.append(f"weights `{shared['weights']}`{sha}")
    return f"Network `{shared['model.name']}`: {', '.join(texts)}"


def _accuracy(runs: Sequence[Record], shared: Record) -> str:
    known = sorted({run["fp_top1"] for run in runs if run["fp_top1"] is not None})
    if not known:
        return ""
    counts = sorted({run["evaluation_images"] for run in runs})
    fp = " to ".join(dict.fromkeys(percent(value) for value in (known[0], known[-1])))
    error = sqrt(known[-1] * (1 - known[-1]) / counts[0])
    images = f"{listed([plain(count) for count in counts])} images of `{shared['data.name']}`"
    return f"FP top-1 {fp} % on {images} (one standard error there: {100 * error:.1f} points)"


def _options(configurations: Sequence[Configuration]) -> list[str]:
    """What all runs of a method, and all of a planner, have besides the defaults."""
    by_name: dict[str, list[Record]] = {}
    for configuration in configurations:
        by_name.setdefault(f"Method `{configuration['method']}`", []).append(configuration["options"])
        planner = configuration["planner"]
        if planner:
            by_name.setdefault(f"Planner `{planner['name']}`", []).append(planner)
    found = []
    for name, own in by_name.items():
        keys = set(own[0]) - {*varying(own), "name", "merge_count", "difference"}
        found += [f"{name} with {', '.join(items(own[0], sorted(keys)))}"] if keys else []
    return found


def _seeds(configurations: Sequence[Configuration]) -> str:
    seeds = {c.seeds for c in configurations}
    if len(seeds) > 1:
        return ""
    (only,) = seeds
    return f"Seed{'s' * (len(only) > 1)} {listed(list(map(str, only)))}"


def _environment(found: Record) -> str:
    texts = [f"{key} {found[key]}" for key in ("mrecg", "torch") if key in found]
    if "device" in found:
        texts.append(found["device"] + (f" ({found['device_name']})" if "device_name" in found else ""))
    if "threads" in found:
        texts.append(f"{found['threads']} thread{'s' * (str(found['threads']) != '1')}")
    return "; ".join(["Everything else by default", *([", ".join(texts)] if texts else [])])


def _results_columns(rows: Sequence[Configuration], best: set[int]) -> list[tuple[str, list[str], bool]]:
    counts = {len(c.runs) for c in rows}
    same, most = len(counts) == 1, max(counts)
    head = "top-1 %" + (", mean" if most > 1 else "") + (f" of {most} seeds" if same and most > 1 else "")
    cells = []
    for place, configuration in enumerate(rows):
        text = percent(configuration.mean("top1"))
        cells.append((f"**{text}**" if place in best else text) + spread(configuration.values("top1")))
    columns = [] if same else [("seeds", [str(len(c.runs)) for c in rows], True)]
    columns.append((head + (" (least to largest)" if most > 1 else ""), cells, True))
    return columns + [(name, [number(c.mean(key)) for c in rows], True) for key, name in NUMBERS.items()]


def _best(rows: Sequence[Configuration], sets: Sequence[str]) -> set[int]:
    """Indices of the rows with the best mean top-1, as shown, of their set."""
    found = set()
    for name in set(sets):
        own = {place: c.mean("top1") for place, c in enumerate(rows) if sets[place] == name}
        known = {place: round(value, 3) for place, value in own.items() if value is not None}
        found |= {p for p, value in known.items() if value == max(known.values()) and len(own) > 1}
    return found


def _merged(configuration: Configuration) -> str:
    if configuration["method"] == "rtn":
        return NONE
    return "; or ".join(short_groups(groups) for groups in configuration.groupings)


def _count(k: int | None, configuration: Configuration) -> str:
    pairs = listed(list(map(str, configuration.pairs)))
    if configuration["granularity"] == "block":
        return "0 (block)"
    name = "auto" if k is None else str(k)
    return name if configuration.pairs == [k] else f"{name} ({pairs} merged)"


def _picture(results: Results, view: str, words: str) -> str:
    return f"![{words}](images/{results.name}-{view}.png)"


def _laid_out(columns: Sequence[tuple[str, list[str], Any]]) -> str:
    """Lay out columns of a title, cells, and whether they are numbers."""
    lines = [[name for name, _, _ in columns], ["---:" if right else "---" for _, _, right in columns]]
    lines += [list(row) for row in zip(*(cells for _, cells, _ in columns), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
