"""What the numbers say, in words: who wins, by how much, at what price; as plainly where merging harms."""

import math
from collections.abc import Sequence

from mrecg.report.compare import Series, told_by, unit_errors
from mrecg.report.labels import known_name
from mrecg.report.missing import missing_run
from mrecg.report.pairs import Delta, Finding
from mrecg.report.tables import percent
from mrecg.runs.names import method_name
from mrecg.runs.records import Run

LEVEL = 0.005
"""Relative change up to which an error counts as unchanged."""
SAME_TIME = 0.05
EQUAL_TIME = 0.85
"""Part of the longer of two times from which on they count as equal, where one was to be like the other."""
NO_REGROWTH = 0.02
"""Part of the largest error up to which what grows back after it is none."""


def headline(found: Sequence[Finding], runs: Sequence[Run]) -> str:
    """Sum the findings of a page up: the `parts` in one text."""
    return _text(*parts(found, runs))


def parts(found: Sequence[Finding], runs: Sequence[Run]) -> list[str]:
    """Sum the findings of a page up, part by part.

    Args:
        found: The findings, in any order.
        runs: All runs of the page.

    Returns:
        The verdict on the best pair, what happens to its error, and what became of the others; of runs
        without a pair their result, and which run is missing.
    """
    if not found:
        missing = missing_run(runs)
        return [_text(part) for part in (*_result(runs), missing.why if missing else "") if part]
    best = best_of(found)
    return [
        _text(part)
        for part in (verdict(best, place_of(best, found)), error_sentence(best), *_others(best, found))
    ]


def best_of(found: Sequence[Finding]) -> Finding:
    """The finding that a page begins with.

    Args:
        found: At least one.

    Returns:
        In the network and bit widths with most configurations, the one that reaches the highest top-1.
    """
    size = max(len(one.panel.series) for one in found)
    here = [one for one in found if len(one.panel.series) == size]
    return max(here, key=lambda one: one.top1.after if one.top1 else -1.0)


def place_of(finding: Finding, found: Sequence[Finding]) -> str:
    """Say what a finding is about, as far as others are about something else: bit widths, or network, too."""
    places = {id(one.panel): one.panel for one in found}.values()
    if len(places) < 2:
        return ""
    subjects = {(one.series[0].first.model, one.series[0].first.data) for one in places}
    return finding.panel.widths if len(subjects) == 1 else finding.panel.title


def verdict(finding: Finding, place: str = "") -> str:
    """Say who beats whom, by how much, at what time; at equal time, too, where that is known.

    Args:
        place: See `place_of`.
    """
    name, other = spoken(finding.series), known_name(finding.baseline.first)
    if finding.top1 is None:
        return f"{name} and {other} were not evaluated on the same images, so which is better is not known."
    values = f"{percent(finding.top1.before, 1)[:-2]} → {percent(finding.top1.after, 1)}"
    values += f", {finding.top1.seeds} seeds" if finding.top1.seeds > 1 else ""
    if not finding.top1.clear:
        said = (
            f"{name} and {other} do not clearly differ {_equal_steps(finding)}: "
            f"{signed_points(finding.top1)} points of top-1"
        )
    elif finding.top1.change > 0:
        said = f"{name} beats {other} by {points(finding.top1)} points of top-1 {_equal_steps(finding)}"
    else:
        said = f"{name} falls {points(finding.top1)} points of top-1 short of {other} {_equal_steps(finding)}"
    return _text(f"{place}:" if place else "", f"{said} ({values}){_price(finding)}.", _control(finding))


def error_sentence(finding: Finding) -> str:
    """Say where the error peaks, whether it grows back, and how much of it reaches the head."""
    regrowth, head = finding.measures.get("regrowth"), finding.measures.get("head_error")
    before, after = (unit_errors(runs) for runs in finding.runs)
    inner = [value for value in before[:-1] or before if math.isfinite(value)]
    if not inner or head is None:
        return ""
    names = finding.panel.units
    peak = names[before.index(max(inner))]
    into = f"reaches the head {_less(head, 'smaller', 'larger')}"
    if regrowth is None:
        return _text(f"With merging the error {into}.")
    finite = [value for value in after[:-1] or after if math.isfinite(value)]
    merged_peak = names[after.index(max(finite))] if finite else peak
    none_left = regrowth.after <= NO_REGROWTH * max(inner)
    if regrowth.before <= NO_REGROWTH * max(inner):
        grows = "" if none_left else f"does grow again after its peak ({merged_peak}) and "
        return _text(
            f"{known_name(finding.baseline.first)} does not oscillate here: relative to the network's own "
            f"signal its error does not grow again after its peak ({peak}), so there is no oscillation to "
            f"remove. With merging the error {grows}{into}."
        )
    where = f"after {peak}" + ("" if merged_peak == peak else f" (merged: after {merged_peak})")
    again = "no longer grows back" if none_left else f"grows back {_less(regrowth, 'less', 'more')}"
    return _text(f"With merging the error, which peaks {where}, {again} and {into}.")


def spoken(series: Series) -> str:
    """A configuration's name with what tells it apart in parentheses."""
    name = known_name(told_by(series.runs))
    details = series.label.removeprefix(name).removeprefix(", ")
    return f"{name} ({details})" if details else name


def time_ratio(finding: Finding) -> float | None:
    """Time of the merging configuration, in times of the block-wise one; None where that says nothing."""
    seconds = finding.measures.get("seconds")
    devices = {run.device for runs in finding.runs for run in runs}
    return seconds.after / seconds.before if seconds and seconds.before > 0 and len(devices) == 1 else None


def control_times(finding: Finding) -> float | None:
    """Time of the control, in times of the merging configuration; None where the two are about equal."""
    control, merged = finding.control and finding.control.seconds, finding.series.seconds
    if not control or not merged or min(control, merged) >= EQUAL_TIME * max(control, merged):
        return None
    return control / merged


def _price(finding: Finding) -> str:
    ratio = time_ratio(finding)
    if ratio is None:
        return ""
    return ", in the same time" if abs(ratio - 1) <= SAME_TIME else f", for {ratio:.2g} × the time"


def _equal_steps(finding: Finding) -> str:
    """Whether the two spent as many steps; a merged group may have those of one unit."""
    totals = [{run.optimisation_steps for run in runs} for runs in finding.runs]
    if all(len(one) == 1 and None not in one for one in totals) and totals[0] != totals[1]:
        before, after = (next(iter(one)) or 0 for one in totals)
        if before and abs(after / before - 1) > SAME_TIME:
            return f"with {after / before:.2g} × the steps"
    return "at equal steps"


def _control(finding: Finding) -> str:
    """The same comparison with a block-wise run that had about as much time."""
    found, control = finding.against_control, finding.control
    if found is None or control is None:
        return ""
    name, value, times = spoken(control), percent(found.before, 1), control_times(finding)
    against = f"At equal time, against {name} with {value},"
    if times is not None:
        against = f"Against {name} with {value}, which took {times:.2g} × its time,"
    if not found.clear:
        return f"{against} there is no clear difference: {signed_points(found)} points."
    return f"{against} it is {points(found)} points {'ahead' if found.change > 0 else 'behind'}."


def _others(best: Finding, found: Sequence[Finding]) -> list[str]:
    """Of other methods in the same place the best pair; of all other places how many rose and fell."""
    said = []
    here = [one for one in found if one.panel is best.panel and one.top1]
    shown = [best.series.first.method]
    for method in dict.fromkeys(one.series.first.method for one in here):
        if method not in shown:
            one = best_of([other for other in here if other.series.first.method == method])
            if one.top1 and method_name(method) != method_name(shown[0]):
                against = known_name(one.baseline.first)
                said.append(f"{spoken(one.series)} against {against}: {signed_points(one.top1)}")
    also = [f"Also {'; '.join(said)} points."] if said else []
    counted = [one.top1 for one in found if one.top1]
    if len(counted) > len(said) + 1:
        rose, fell = (sum(1 for d in counted if d.clear and d.change * sign > 0) for sign in (1, -1))
        level = len(counted) - rose - fell
        also.append(
            f"Of all {len(counted)} comparisons here top-1 clearly rose in {rose} and fell in {fell}; "
            f"in {level} there is no clear difference."
        )
    return also


def _result(runs: Sequence[Run]) -> list[str]:
    """The best run by itself."""
    done = [run for run in runs if run.completed and run.units]
    if not done:
        return ["No run here completed."] if runs else []
    best = max(done, key=lambda run: run.quantized.top1 if run.quantized else -1.0)
    said = []
    if best.quantized and best.fp:
        name = "Top-1" if len(done) == 1 else f"The best of {len(done)} runs, {best.name}: top-1"
        top1, full = percent(best.quantized.top1), percent(best.fp.top1)
        said.append(f"{name} is {top1} after quantization, {full} before.")
    errors = {unit.name: unit.error for unit in best.units if math.isfinite(unit.error)}
    if errors:
        worst = max(errors, key=lambda name: errors[name])
        said.append(f"Its relative error is largest after {worst} ({errors[worst]:.3f}).")
    return said


def _less(delta: Delta, less: str, more: str) -> str:
    share = delta.share
    if share is None or abs(share) <= LEVEL:
        return "as large" if less == "smaller" else "as much"
    return f"{abs(100 * share):.0f} % {less if share < 0 else more}"


def digits(delta: Delta) -> int:
    """Digits that a change in points is worth."""
    return 2 if delta.error is not None and delta.error < 0.001 else 1


def points(delta: Delta) -> str:
    """A change of accuracy in points, without its sign, with its standard error."""
    places = digits(delta)
    error = "" if delta.error is None else f" ± {100 * delta.error:.{places}f}"
    return f"{abs(100 * delta.change):.{places}f}{error}"


def signed_points(delta: Delta) -> str:
    """Likewise, with its sign."""
    sign = "−" if delta.change < 0 else "+"
    return f"{sign}{points(delta)}"


def _text(*parts: str) -> str:
    return " ".join(part for part in parts if part).replace(" %", "\u00a0%").replace(" ×", "\u00a0×")
