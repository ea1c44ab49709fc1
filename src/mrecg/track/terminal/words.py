"""Parts of a line on a terminal: names, times left, bars and spark lines."""

import math
from collections.abc import Sequence

from mrecg.runs.measures import against_block
from mrecg.runs.text import stopwatch

SPARKS = "▁▂▃▄▅▆▇█"
EIGHTHS = "▏▎▍▌▋▊▉█"
LEAST_SPAN = 1.5
"""A spark line spans at least this factor, so that the noise of a flat curve looks flat."""


def remaining(seconds: float | None, *, sure: bool) -> str:
    """Say how long something will take.

    Args:
        seconds: The estimate; None where nothing was measured yet.
        sure: Whether it rests on enough.

    Returns:
        A rough figure, said to be one, where it rests on little.

    >>> remaining(None, sure=False), remaining(83.4, sure=True), remaining(83.4, sure=False)
    ('measuring', '1:23 min left', 'about 1 min left')
    """
    if seconds is None:
        return "measuring"
    if sure:
        return f"{stopwatch(seconds)} left"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"about {seconds / size:.0f} {unit} left"
    return f"about {max(5, 5 * round(seconds / 5))} s left"


def shorten(text: str, width: int) -> str:
    """Take the middle out of a name that is too long: its ends tell most.

    Args:
        width: Columns.

    Returns:
        No more than ``width`` characters.

    >>> shorten("features.18-classifier", 12)
    'featur…ifier'
    """
    if len(text) <= width:
        return text
    if width < 3:
        return text[: max(width, 0)]
    return f"{text[: width // 2]}…{text[len(text) - (width - 1) // 2 :]}"


def members(names: Sequence[str], width: int) -> str:
    """Name the units of a group in a given width.

    Args:
        names: The units in order.
        width: Columns.

    Returns:
        All names if they fit; else what they share only once; else the first and the last and how many.

    >>> names = ["features.3", "features.4", "features.5"]
    >>> members(names, 40), members(names, 20), members(names * 3, 26)
    ('features.3 + features.4 + features.5', 'features.3 + 4 + 5', 'features.3 … 5 (9 units)')
    """
    whole = " + ".join(names)
    if len(whole) <= width or len(names) == 1:
        return shorten(whole, width)
    parents = {name.rpartition(".")[0] for name in names}
    shared = len(next(iter(parents))) + 1 if len(parents) == 1 and all("." in name for name in names) else 0
    brief = [names[0], *(name[shared:] for name in names[1:])]
    if len(joined := " + ".join(brief)) <= width:
        return joined
    count = f" ({len(names)} units)"
    return shorten(f"{brief[0]} … {brief[-1]}", width - len(count)) + count


def brackets(count: int) -> list[str]:
    """Draw a bracket beside lines.

    Args:
        count: Lines.

    Returns:
        One character for each line; a blank for a single one.

    >>> brackets(1), brackets(3)
    ([' '], ['┐', '│', '┘'])
    """
    return [" "] if count == 1 else ["┐", *["│"] * (count - 2), "┘"]


def spark(losses: Sequence[tuple[float, float]], cells: int) -> str:
    """Draw a loss curve in one line, on a logarithmic scale.

    Args:
        losses: Place from 0 to 1 along the curve, and the loss there; in order.
        cells: Columns of the whole curve.

    Returns:
        As many characters as the curve has come to: each the mean of what falls into it, or the one before.
    """
    held: list[list[float]] = [[] for _ in range(cells)]
    for place, loss in losses:
        if math.isfinite(loss):
            held[min(cells - 1, int(place * cells))].append(max(loss, 1e-12))
    values: list[float] = []
    for cell in held[: _last(held) + 1]:
        values.append(math.log(sum(cell) / len(cell)) if cell else values[-1] if values else math.nan)
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    span = max(max(known) - min(known), math.log(LEAST_SPAN))
    heights = [0.0 if math.isnan(value) else (value - min(known)) / span for value in values]
    return "".join(SPARKS[min(len(SPARKS) - 1, int(height * len(SPARKS)))] for height in heights)


def _last(held: Sequence[Sequence[float]]) -> int:
    """Index of the last cell with anything in it; -1 where there is none."""
    return max((i for i, cell in enumerate(held) if cell), default=-1)


def blocks(length: float) -> str:
    """Draw a bar with eighths of a column.

    Args:
        length: Columns.

    Returns:
        The bar; at least its thinnest piece for anything above 0.

    >>> blocks(2.5), blocks(0.01), blocks(0.0)
    ('██▌', '▏', '')
    """
    eighths = max(round(length * 8), int(length > 0))
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def change(value: float, before: float | None) -> str:
    """Say by how much a number differs from another one.

    Args:
        before: The other one; None: there is none.

    Returns:
        Per cent with a sign; empty where the two cannot be compared.

    >>> change(0.366, 0.423), change(0.42, 0.42), change(50.0, 0.5), change(0.1, None)
    ('-13 %', '+0 %', '> 999 %', '')
    """
    (relative,) = against_block([value], [before or 0.0])
    if math.isnan(relative):
        return ""
    return f"{100 * relative:+.0f} %".replace("-0 %", "+0 %") if relative < 10 else "> 999 %"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """Draw a thin bar.

    Args:
        fraction: What is done, 0 to 1.
        width: Columns.

    Returns:
        The part that is done and the part that is not.

    >>> bar(0.55, 10)
    ('━━━━━╸', '────')
    """
    halves = round(2 * width * min(max(fraction, 0.0), 1.0))
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    return done, "─" * (width - len(done))
