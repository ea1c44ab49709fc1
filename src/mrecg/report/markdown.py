"""The comparison as Markdown: a table for each network, images and bit widths; seeds as their means."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

from mrecg.errors import legible
from mrecg.report.collection import ENVIRONMENT, public_options, without_paths
from mrecg.report.compare import Panel, Series, panels, sort_key, top1
from mrecg.report.decisions import standard_error
from mrecg.report.labels import SETTINGS, differing, open_count
from mrecg.report.narrative import error_sentence, headline, verdict
from mrecg.report.pairs import Finding, findings
from mrecg.report.tables import FORMATS, NONE, percent
from mrecg.runs.metrics import METRICS, Metric
from mrecg.runs.records import Run, short_groups
from mrecg.runs.text import number

Row = Mapping[str, str]
_FORMATS: Mapping[str, Callable[[float], str]] = {
    **FORMATS,
    "compact": lambda value: f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else number(value),
}
"""A page has room for digits where a terminal has not."""
_LONGEST = 300


def markdown(
    runs: Sequence[Run], *, pictures: Mapping[str, Sequence[str]] | None = None, level: int = 2
) -> str:
    """Write the comparison of runs.

    Args:
        runs: Any runs, in any order; those of a file give the same text as their folders.
        pictures: Addresses of pictures by the title of the panel that they show, "" for all; as they stand in
            the text.
        level: Of the headings, one for each network and images.

    Returns:
        Markdown as GitHub reads it. Nothing that comes from a run's files is markup in it.
    """
    own = [run.model_copy(update={"options": public_options(run.options)}) for run in runs]
    shown, pictures = panels(own), pictures or {}
    found = findings(shown)
    parts = [plain(headline(found, own)) if found or len(own) == 1 else "", *_pictures(pictures, [""])]
    if any(len(series.by_seed) > 1 for panel in shown for series in panel.series):
        parts.append("Of several seeds: the mean, with the least and the largest in parentheses.")
    for subject, members in _grouped(shown, lambda panel: _subject(panel.series[0].first)).items():
        parts += [f"{'#' * level} {plain(subject)}", _shared(members)]
        for widths, alike in _grouped(members, lambda panel: panel.widths).items():
            parts += _section(widths, alike, [one for one in found if any(one.panel is p for p in alike)])
            parts += _pictures(pictures, [panel.title for panel in alike])
    parts += _without_results(own, level)
    return "\n\n".join(filter(None, parts)) + "\n"


def plain(text: str) -> str:
    r"""Write text so that Markdown shows it as it is; of paths in it the last part.

    >>> plain("a|b <script> *x* brecq_joint _y_ [z](u)")
    'a\\|b &lt;script&gt; \\*x\\* brecq_joint \\_y\\_ \\[z\\](u)'
    """
    flat = escape(legible(" ".join(without_paths(text).split())), quote=False)
    return re.sub(r"[\\`*|\[\]~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", flat)


def _subject(run: Run) -> str:
    return f"{run.model} on {run.data}"


def _grouped(shown: Iterable[Panel], key: Callable[[Panel], str]) -> dict[str, list[Panel]]:
    found: dict[str, list[Panel]] = {}
    for panel in shown:
        found.setdefault(key(panel), []).append(panel)
    return found


def _pictures(pictures: Mapping[str, Sequence[str]], titles: Sequence[str]) -> list[str]:
    return [
        f"![{plain(title or 'Relative error after each unit')}]({address})"
        for title in titles
        for address in pictures.get(title, ())
    ]


def _section(widths: str, alike: Sequence[Panel], found: Sequence[Finding]) -> list[str]:
    """A table and what it says; configurations with other base units stand in the same one."""
    series = sorted((one for panel in alike for one in panel.series), key=lambda one: sort_key(one.first))
    said = [f"- {plain(f'{verdict(one)} {error_sentence(one)}')}" for one in found]
    return [f"**{plain(widths)}**", _table(_rows(series)), "\n".join(said)]


def _rows(series: Sequence[Series]) -> list[Row]:
    settings = differing([one.first for one in series], merges=False)
    best = _best(series)
    rows: list[Row] = []
    for one, said in zip(series, settings, strict=True):
        run = one.first
        numbers = {metric.key: _aggregated(metric, one.runs) for metric in METRICS if metric.name("markdown")}
        if one is best:
            numbers["top1"] = f"**{numbers['top1']}**"
        groups = dict.fromkeys(short_groups(member.merged) for member in one.runs)
        rows.append(
            {
                "method": plain(run.method),
                "granularity": plain(run.granularity),
                "planner": plain(_planner(run)),
                "settings": plain(said),
                "seeds": str(len(one.by_seed)),
                **numbers,
                "merged": plain("; or ".join(groups)),
            }
        )
    return rows


def _best(series: Sequence[Series]) -> Series | None:
    means = [(fmean(known), one) for one in series if (known := _known(top1, one.runs))]
    return max(means, key=lambda pair: pair[0])[1] if len(means) > 1 else None


def _planner(run: Run) -> str:
    if not run.planner:
        return ""
    if open_count(run):
        return run.planner if run.planner in ("budget", "pack") else f"{run.planner}, auto"
    return f"{run.planner}, k = {run.merge_count}"


def _aggregated(metric: Metric, runs: Sequence[Run]) -> str:
    known, write = _known(metric.value, runs), _FORMATS[metric.format]
    if not known:
        return NONE
    mean, low, high = (write(value) for value in (fmean(known), min(known), max(known)))
    return mean if low == high else f"{mean} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def _known(take: Callable[[Run], float | None], runs: Sequence[Run]) -> list[float]:
    return [value for run in runs if (value := take(run)) is not None]


def _table(rows: Sequence[Row]) -> str:
    """Lay rows out; a column that says nothing is left out."""
    titles = {"method": "method", "granularity": "granularity", "planner": "planner", "settings": "settings"}
    titles |= {"seeds": "seeds"} if any(row["seeds"] != "1" for row in rows) else {}
    measured = {metric.key: name for metric in METRICS if (name := metric.name("markdown"))}
    titles |= measured | {"merged": "merged groups"}
    empty = {key for key in titles if all(row[key] in ("", NONE) for row in rows)} - {"method", "top1"}
    titles = {key: title for key, title in titles.items() if key not in empty}
    right = {"seeds", *measured}
    lines = [titles.values(), ["---:" if key in right else "---" for key in titles]]
    lines += [[row[key] or NONE for key in titles] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shared(members: Sequence[Panel]) -> str:
    """What all runs of a network and images have in common, as a list."""
    runs = [run for panel in members for series in panel.series for run in series.runs]
    lines = [
        _joined(_units(runs), _weights(runs), _pixels(runs)),
        _joined(*_settings(runs), *_options(runs), _seeds(members)),
        _full_precision(runs),
        _joined(*_machine(runs)),
    ]
    return "\n".join(f"- {plain(line)}" for line in lines if line)


def _in_common(values: Iterable[Any]) -> Any:
    """The value of all; None where they differ."""
    found = list(values)
    return found[0] if all(value == found[0] for value in found) else None


def _joined(*texts: str | None) -> str:
    return ", ".join(filter(None, texts))


def _units(runs: Sequence[Run]) -> str:
    return f"{' or '.join(map(str, sorted({len(run.units) for run in runs})))} units"


def _weights(runs: Sequence[Run]) -> str:
    found = _in_common(run.weights for run in runs) or {}
    sha = str(found.get("sha256") or "")[:12]
    origin = found.get("origin")
    return f"weights {origin}" + (f" (sha256 {sha})" if sha else "") if origin else ""


def _pixels(runs: Sequence[Run]) -> str:
    shape = (_in_common(run.preprocessing for run in runs) or {}).get("input_shape")
    return f"images {' × '.join(map(str, shape))}" if isinstance(shape, list | tuple) else ""


def _settings(runs: Sequence[Run]) -> list[str | None]:
    found = [_in_common(say(run) for run in runs) for say in SETTINGS]
    known = [said for said in found if said not in ("0 images", "batches of 0")]
    return [said and re.sub(r"(?<=\d) images$", " calibration images", said) for said in known]


def _options(runs: Sequence[Run]) -> list[str]:
    keys = sorted({key for run in runs for key in run.options})
    found = {key: _in_common(run.options.get(key) for run in runs) for key in keys}
    return [f"{key} {value}" for key, value in found.items() if value is not None]


def _seeds(members: Sequence[Panel]) -> str:
    seeds = _in_common([*one.by_seed] for panel in members for one in panel.series)
    return f"seed{'s' * (len(seeds) > 1)} {' '.join(map(str, seeds))}" if seeds else ""


def _full_precision(runs: Sequence[Run]) -> str:
    accuracy, images = _in_common(run.fp for run in runs), _in_common(run.evaluation_images for run in runs)
    if not accuracy or not images:
        return ""
    error = percent(standard_error(accuracy.top1, images))
    return f"Full precision: top-1 {percent(accuracy.top1)} on {images:,} images (standard error {error})"


def _machine(runs: Sequence[Run]) -> list[str]:
    found = {key: _in_common(run.environment.get(key) for run in runs) for key in ENVIRONMENT}
    return [f"{key.replace('_', ' ')} {value}" for key, value in found.items() if value]


def _without_results(runs: Sequence[Run], level: int) -> list[str]:
    lines = []
    for run in sorted(runs, key=sort_key):
        if not run.completed:
            why = ": ".join(filter(None, (run.status, run.error)))
            lines.append(f"- {plain(run.name)}: {plain(why[:_LONGEST])}")
        elif not run.units:
            lines.append(f"- {plain(run.name)}: completed, without units")
    return [f"{'#' * level} In no table", "\n".join(lines)] if lines else []
