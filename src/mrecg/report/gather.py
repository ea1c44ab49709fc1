"""Load many runs: the numbers of all, and everything else of those that are drawn."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from mrecg.errors import DataError
from mrecg.report import compare
from mrecg.report.compare import Panel
from mrecg.runs.index import Read
from mrecg.runs.load import load_run
from mrecg.runs.records import Run
from mrecg.system.checked_read import read_regular

ALL_DETAILED = 500
"""Runs up to which everything is read of every run."""
MOST_DETAILED = 300
"""Of more runs, so many are read whole: a page shows six configurations at once."""


def load_runs(
    found: Sequence[Path], *, read: Read = read_regular, broken: dict[Path, DataError] | None = None
) -> list[Run]:
    """Load runs, of many only the chosen ones whole.

    Args:
        read: How their files are read.
        broken: Gets the errors of runs that cannot be loaded, which are then left out; None: the first such
            error is raised.

    Returns:
        The runs, in the order given. Of more than `ALL_DETAILED` all have what summary.json says, and
        `MOST_DETAILED` of them also curves, plan, settings and environment.

    Raises:
        DataError: A file is missing, is not readable, or lacks a value: of any run, or of all of them.
    """
    runs = list(_loaded(found, read, broken, detailed=len(found) <= ALL_DETAILED))
    if len(found) > ALL_DETAILED:
        chosen = {run.path for run in choose(runs, MOST_DETAILED)}
        whole = {run.path: run for run in _loaded(sorted(chosen), read, broken, detailed=True)}
        runs = [whole.get(run.path, run) for run in runs if run.path in whole or run.path not in chosen]
    if broken and not runs:
        raise next(iter(broken.values()))
    return runs


def _loaded(
    paths: Sequence[Path], read: Read, broken: dict[Path, DataError] | None, *, detailed: bool
) -> Iterator[Run]:
    for path in paths:
        try:
            yield load_run(path, read=read, detailed=detailed)
        except DataError as error:
            if broken is None:
                raise
            broken[path] = error


def choose(runs: Sequence[Run], most: int) -> list[Run]:
    """Choose the runs that a reader looks at first.

    Args:
        runs: Any runs.
        most: How many to choose.

    Returns:
        In turn of every network and pair of bit widths, the best configurations before others, each after
        its block-wise counterpart: of each the run of the lowest seed, and the most accurate one.
    """
    chosen: dict[int, Run] = {}
    turns = zip_longest(*(_preferred(panel) for panel in compare.panels(runs)))
    for run in (run for turn in turns for run in turn if run is not None):
        if len(chosen) == most:
            break
        chosen.setdefault(id(run), run)
    return list(chosen.values())


def left_out(runs: Sequence[Run]) -> str:
    """Say of what there is less than of all runs.

    Args:
        runs: The runs of a page.

    Returns:
        One or two sentences; empty where nothing is left out.
    """
    detailed = sum(run.detailed for run in runs)
    if detailed == len(runs):
        return ""
    return (
        f"All {len(runs):,} runs are here with their numbers. Loss curves, plans, decisions image by image "
        f"and settings are kept for {detailed:,} of them: of every network and bit widths those of the best "
        "configurations and of their block-wise counterparts. Name fewer folders to see them of other runs."
    )


def _preferred(panel: Panel) -> Iterator[Run]:
    ranked = sorted(
        panel.series,
        key=lambda one: (compare.baseline_of(panel, one) is not None, compare.rank(one)),
        reverse=True,
    )
    for series in ranked:
        baseline = compare.baseline_of(panel, series)
        for one in (series,) if baseline is None else (baseline, series):
            yield one.first
            yield max(one.runs, key=lambda run: _number(compare.top1(run)))


def _number(value: float | None) -> float:
    return -math.inf if value is None else value
