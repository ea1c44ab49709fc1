"""The picture of a search: what came out of its trials, and those that no other one beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mrecg.report.figures.axes import legend_above
from mrecg.report.figures.style import (
    LEGEND_ROW,
    ONE_COLUMN,
    PLAIN,
    SMALL,
    SOFT,
    new_figure,
    paper_style,
    save,
)
from mrecg.report.palette import COLOURS_LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.5
"""Inches, without the legend."""
LABELLED = 12
"""Trials of the front that get their number, at most."""
_PER_CENT = ("top1", "top5")
_WORDS = {"quantized.top1": "top-1 (%)", "quantized.top5": "top-5 (%)", "seconds": "time of a run alone (s)"}
_FRONT = COLOURS_LIGHT[4]


@dataclass(frozen=True)
class Trial:
    """What is drawn of a trial.

    Attributes:
        label: The number of its run.
        values: Of the objectives.
        front: Whether no other trial beats it.
    """

    label: str
    values: tuple[float, ...]
    front: bool


def search_figure(trials: Sequence[Trial], objectives: Sequence[str], maximize: bool, path: Path) -> Path:
    """Draw the first objective against the last; a single one against the trials.

    Args:
        trials: The trials that have values, in their order.
        objectives: Keys of summary.json, or ``seconds``.
        maximize: Whether more is better in the first.
        path: The file to write, with the ending .png, .svg or .pdf.

    Raises:
        DataError: Another ending, or the file cannot be written.
    """
    with paper_style():
        figure = new_figure(width=ONE_COLUMN, height=HEIGHT + LEGEND_ROW)
        axes = figure.subplots()
        ys = [_shown(objectives[0], trial.values[0]) for trial in trials]
        if len(objectives) > 1:
            xs = [_shown(objectives[-1], trial.values[-1]) for trial in trials]
            axes.set_xlabel(_WORDS.get(objectives[-1], objectives[-1]))
        else:
            xs = [float(i) for i in range(len(trials))]
            axes.set_xlabel("trial")
        axes.set_ylabel(_WORDS.get(objectives[0], objectives[0]))
        others = [i for i, trial in enumerate(trials) if not trial.front]
        (rest,) = axes.plot(
            [xs[i] for i in others],
            [ys[i] for i in others],
            "o",
            color=PLAIN,
            markeredgecolor=SOFT,
            markeredgewidth=0.5,
        )
        handles, labels = [rest], ["trial"]
        front = sorted((xs[i], ys[i], trial.label) for i, trial in enumerate(trials) if trial.front)
        if len(objectives) == 1:
            best = [(max if maximize else min)(ys[: i + 1]) for i in range(len(ys))]
            handles += axes.step(xs, best, where="post", color=_FRONT)
            labels.append("best so far")
        steps = "steps-post" if len(objectives) == 2 else "default"
        (line,) = axes.plot(
            [x for x, _, _ in front],
            [y for _, y, _ in front],
            "o-" if len(objectives) == 2 else "o",
            drawstyle=steps,
            color=_FRONT,
            markeredgecolor="white",
            markeredgewidth=0.4,
            markersize=4.6,
            zorder=4,
        )
        handles.append(line)
        labels.append("best" if len(objectives) == 1 else "Pareto front (number of the run)")
        _number(axes, front)
        axes.grid(visible=True, axis="both")
        axes.margins(x=0.08, y=0.1)
        legend_above(figure, handles, labels)
        return save(figure, path, title="Search: " + " against ".join(objectives))


def _shown(key: str, value: float) -> float:
    return 100 * value if key.rpartition(".")[2] in _PER_CENT else value


def _number(axes: "Axes", front: Sequence[tuple[float, float, str]]) -> None:
    """Write the numbers of the runs, each once, below right of its point: the front has no point there."""
    seen: set[str] = set()
    for x, y, label in front:
        if label in seen or len(seen) == LABELLED:
            continue
        seen.add(label)
        axes.annotate(
            label,
            (x, y),
            xytext=(3.5, -7),
            textcoords="offset points",
            fontsize=SMALL,
            color=_FRONT,
            zorder=5,
        )
