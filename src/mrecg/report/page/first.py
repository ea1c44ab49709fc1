"""The first screen of the page: each comparison as a sentence, five cards, and what each merge gained."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from mrecg.report import narrative
from mrecg.report.compare import Series
from mrecg.report.labels import known_name
from mrecg.report.page.networks import short_names
from mrecg.report.pairs import Delta, Finding
from mrecg.report.sweep_table import duration
from mrecg.report.tables import compact, percent
from mrecg.runs import metrics
from mrecg.runs.records import Run, short_group

Values = dict[str, Any]
SLIGHT = 0.01
"""Relative change up to which a measure counts as unchanged."""


def comparison(
    finding: Finding, names: Mapping[int, str], ids: Mapping[int, str], *, place: str = ""
) -> Values:
    """Describe a comparison.

    Args:
        place: See `narrative.place_of`.
        names: Id of a configuration by the id() of its series.
        ids: Id of a run by its id().

    Returns:
        Plain values.
    """
    before, after = finding.runs
    at = {name: i for i, name in enumerate(finding.panel.units)}
    short, _ = short_names(finding.panel.units)
    return {
        "id": names[id(finding.series)],
        "baseline": names[id(finding.baseline)],
        "title": f"{known_name(finding.baseline.first)} → {narrative.spoken(finding.series)}",
        "before_name": known_name(finding.baseline.first),
        "after_name": narrative.spoken(finding.series),
        "parts": [narrative.verdict(finding, place), narrative.error_sentence(finding)],
        "cards": [card for card in _cards(finding, before, after) if card],
        "before": [ids[id(run)] for run in before],
        "after": [ids[id(run)] for run in after],
        "schedule": _schedule(finding, after),
        "merges": [
            {
                "units": [at[name] for name in one.units],
                "name": short_group([short[at[name]] for name in one.units]),
                "change": None if one.change is None else _percent(one.change),
                "better": one.change is not None and one.change < 0,
                "cost": None if one.seconds is None else f"{_signed(one.seconds, 1)}\u202fs",
            }
            for one in finding.merges
        ],
    }


def _schedule(finding: Finding, runs: Sequence[Run]) -> str:
    """Says of how many seeds the merges are, where not all have the same."""
    merged = tuple(one.units for one in finding.merges)
    alike, none = (sum(run.merged == kind for run in runs) for kind in (merged, ()))
    if alike == len(runs) or not merged:
        return ""
    others = ["merge other units"] if alike + none < len(runs) else []
    others += ["merge none"] if none else []
    return f"of {alike} of {len(runs)} seeds; the others {' or '.join(others)}"


def alone(runs: Sequence[Run], series: Series | None, names: Mapping[int, str]) -> Values | None:
    """Describe the best configuration of runs that have no pair.

    Args:
        runs: All runs of the page.
        series: The configuration; None where no run completed.
        names: As of `comparison`.
    """
    if series is None:
        return None
    accuracy = [run for run in series.runs if run.quantized]
    cards = []
    if accuracy:
        top1 = fmean(run.quantized.top1 for run in accuracy if run.quantized)
        full = next((run.fp.top1 for run in accuracy if run.fp), None)
        images = f"{accuracy[0].evaluation_images:,} images"
        before = f"full precision {percent(full)}" if full is not None else ""
        cards.append(_card("Top-1", f"{100 * top1:.2f}", "%", before, note=images))
    for key, title, note in _MEASURED:
        values = [value for run in series.runs if (value := _measure(key, run)) is not None]
        if values:
            cards.append(_card(title, _number(fmean(values)), "", "", note=note))
    if series.seconds is not None:
        cards.append(_card("Cost", duration(series.seconds), "", "", note="time of all stages"))
    return {"id": names[id(series)], "cards": cards, "several": len(runs) > len(series.runs)}


_MEASURED = (
    ("head_error", "Error into head", "relative error of what the classifier sees"),
    ("loss_peak", "Largest loss", "after any unit"),
    ("regrowth", "Grows back", "rises of the error after its peak"),
)


def _measure(key: str, run: Run) -> float | None:
    found = metrics.BY_KEY[key].value(run)
    return found if found is not None and math.isfinite(found) else None


def _cards(finding: Finding, before: Sequence[Run], after: Sequence[Run]) -> list[Values | None]:
    measures = finding.measures
    names = finding.panel.units
    head = names[-2:][0]
    worst = _joined([_worst(runs, names) for runs in (before, after)])
    return [
        _top1(finding),
        _relative("Error into head", measures.get("head_error"), f"relative error after {head}"),
        _relative("Largest loss", measures.get("loss_peak"), f"after {worst}"),
        _relative("Grows back", measures.get("regrowth"), "rises of the error after its peak"),
        _cost(finding),
    ]


def _top1(finding: Finding) -> Values | None:
    delta = finding.top1
    if delta is None:
        return None
    places = narrative.digits(delta)
    doubt = ""
    if delta.error is not None:
        kind = "paired" if delta.paired else "unpaired"
        doubt = f"± {100 * delta.error:.{places}f}, {kind} standard error"
    seeds = f"{delta.seeds} seeds" if delta.seeds > 1 else "" if delta.seeds else "no common seed"
    note = ", ".join(filter(None, [doubt, f"{delta.images:,} images" if delta.images else "", seeds]))
    values = f"{percent(delta.before, places)} → {percent(delta.after, places)}"
    change = _signed(100 * delta.change, places)
    return _card("Top-1", change, "points", values, note=note, verdict=_judged(delta, higher=True))


def _relative(title: str, delta: Delta | None, note: str) -> Values | None:
    if delta is None:
        return None
    values = _pair(delta.before, delta.after)
    if delta.share is None:
        value, unit = _signed(delta.change, 3), ""
    else:
        value, unit = _percent(delta.share).rsplit("\u202f", 1)
    return _card(title, value, unit, values, note=note, verdict=_judged(delta, higher=False))


def _cost(finding: Finding) -> Values | None:
    seconds, ratio = finding.measures.get("seconds"), narrative.time_ratio(finding)
    if seconds is None:
        return None
    values = f"{duration(seconds.before)} → {duration(seconds.after)}"
    if ratio is None:
        return _card("Cost", "–", "", values, note="the two ran on different devices")
    if finding.control is not None and finding.against_control is not None:
        times = narrative.control_times(finding)
        when = "at equal time" if times is None else f"in {times:.2g}\u00a0× its time"
        top1 = percent(finding.against_control.before, 1)
        note = f"{when} {narrative.spoken(finding.control)} has {top1}"
    else:
        note = "no block-wise run with as much time here"
    word = "same" if abs(ratio - 1) <= narrative.SAME_TIME else "dearer" if ratio > 1 else "cheaper"
    tone = {"dearer": "worse", "cheaper": "better"}.get(word, "equal")
    return _card("Cost", f"{ratio:.2g} ×", "time", values, note=note, verdict=(word, tone))


def _judged(delta: Delta, *, higher: bool) -> tuple[str, str]:
    """The verdict in a word, and its tone."""
    slight = not delta.clear if delta.error is not None else abs(delta.change) <= SLIGHT * abs(delta.before)
    if slight:
        return ("no clear difference" if delta.error is not None else "unchanged", "equal")
    return ("better", "better") if (delta.change > 0) is higher else ("worse", "worse")


def _card(
    title: str, value: str, unit: str, values: str, *, note: str, verdict: tuple[str, str] = ("", "equal")
) -> Values:
    word, tone = verdict
    return {
        **{"title": title, "value": value, "unit": unit, "values": values},
        **{"note": note, "verdict": word, "tone": tone},
    }


def _worst(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The unit with the largest mean loss."""
    columns = list(zip(*([unit.loss for unit in run.units] for run in runs), strict=True))
    means = [
        fmean(known) if (known := [v for v in column if math.isfinite(v)]) else -1.0 for column in columns
    ]
    return names[means.index(max(means))]


def _joined(names: Sequence[str]) -> str:
    return " → ".join(dict.fromkeys(names))


def _pair(before: float, after: float) -> str:
    """Two numbers with three digits, zeros at the end included where both are from 0.1 to 1."""
    if all(0.1 <= value < 1 for value in (before, after)):
        places = max(len(_number(value)) for value in (before, after)) - 2
        return f"{before:.{places}f} → {after:.{places}f}"
    return f"{_number(before)} → {_number(after)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e7 else compact(value)


def _percent(share: float) -> str:
    return f"{_signed(100 * share, 0)}\u202f%"


def _signed(value: float, places: int) -> str:
    text = f"{abs(value):.{places}f}"
    zero = not any(letter in "123456789" for letter in text)
    return text if zero else f"{'+' if value > 0 else '−'}{text}"
