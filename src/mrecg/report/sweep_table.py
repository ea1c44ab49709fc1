"""How far a sweep is, as a table for the terminal and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mrecg.report.tables import NONE, percent
from mrecg.runs.sweep_status import (
    DONE,
    FAILED,
    INTERRUPTED,
    MISSING,
    RUNNING,
    STATUSES,
    JobStatus,
    Sweep,
)

MOST_JOBS = 60
"""Jobs up to which all are listed."""
_MOST_SUBJECTS = 8
_COLOURS = {DONE: "green", FAILED: "red", RUNNING: "cyan", INTERRUPTED: "yellow", MISSING: "dim"}


def sweep_table(sweep: Sweep, *, every: bool = False) -> Group:
    """Make the table of a sweep.

    Args:
        every: Whether to list all jobs however many they are.

    Returns:
        What rich prints: counts, the jobs, the best ones, what is left.
    """
    shown = sweep.jobs if every or len(sweep.jobs) <= MOST_JOBS else _choose(sweep.jobs)
    parts: list[Table | Text] = [_counts(sweep), _jobs(sweep, shown)]
    if len(shown) < len(sweep.jobs):
        parts.append(Text(f"{len(sweep.jobs) - len(shown):,} more jobs: --all lists all {len(sweep.jobs):,}"))
    best = sweep.best
    for subject, job in list(best.items())[:_MOST_SUBJECTS]:
        about = f" ({subject})" if subject else ""
        parts.append(Text(f"best{about}: {percent(job.top1)}, job {job.number} in {job.folder}"))
    if len(best) > _MOST_SUBJECTS:
        more = len(best) - _MOST_SUBJECTS
        parts.append(Text(f"and of {more:,} more networks and bit widths: mrecg report {sweep.folder}"))
    if (left := _left(sweep)) is not None:
        parts.append(left)
    return Group(*parts)


def sweep_values(sweep: Sweep) -> dict[str, Any]:
    """Describe a sweep for other programs.

    Returns:
        Plain values that JSON can hold.
    """
    return {
        "schema_version": 1,
        "folder": str(sweep.folder),
        "command": sweep.command,
        "counts": sweep.counts,
        "seconds_a_job": sweep.seconds_a_job,
        "seconds_left": sweep.seconds_left,
        "best": {subject: job.number for subject, job in sweep.best.items()},
        "jobs": [{**asdict(job), "overrides": list(job.overrides)} for job in sweep.jobs],
    }


def duration(seconds: float | None) -> str:
    """Write a time as people say it.

    Args:
        seconds: The time, or None.

    Returns:
        Two units at most; a dash for None.

    >>> duration(42.4), duration(80), duration(5000), duration(200_000)
    ('42 s', '1 min 20 s', '1 h 23 min', '2 d 7 h')
    """
    if seconds is None:
        return NONE
    whole = round(seconds)
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {large} {whole % size // part} {small}"
    return f"{whole} s"


def _counts(sweep: Sweep) -> Text:
    counts = sweep.counts
    text = Text(f"{len(sweep.jobs):,} job{'' if len(sweep.jobs) == 1 else 's'} in {sweep.folder}: ")
    said = [(status, number) for status, number in counts.items() if number or status == DONE]
    for i, (status, number) in enumerate(said):
        text.append(", " if i else "").append(f"{number:,} {status}", style=_COLOURS[status])
    return text


def _jobs(sweep: Sweep, shown: Sequence[JobStatus]) -> Table:
    shared = set.intersection(*(set(job.overrides) for job in sweep.jobs)) if len(sweep.jobs) > 1 else set()
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    table.add_column("status", no_wrap=True)
    table.add_column("top-1", justify="right", no_wrap=True)
    compares = any(job.to_block is not None for job in sweep.jobs)
    if compares:
        table.add_column("to block", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    reuses = any(job.seconds_reused for job in sweep.jobs)
    if reuses:
        table.caption = "time: of all stages, with what other jobs had spent on what is reused"
        table.add_column("reused", justify="right", no_wrap=True)
    top = {job.number for job in sweep.best.values()}
    for job in shown:
        # As Text, what comes from a file is never read as rich's markup.
        own = " ".join(item for item in job.overrides if item not in shared)
        what = Text(own or job.folder)
        if job.reason:
            what.append(f"\n{job.reason}", style="red")
        best = "bold green" if job.number in top and job.top1 is not None else ""
        table.add_row(
            str(job.number),
            what,
            Text(job.status, style=_COLOURS[job.status]),
            Text(percent(job.top1), style=best),
            *([_points(job.to_block)] if compares else []),
            duration(job.seconds),
            *([duration(job.seconds_reused)] if reuses else []),
        )
    return table


def _points(change: float | None) -> str:
    """A difference of two accuracies in points, with its sign."""
    return NONE if change is None else f"{100 * change:+.2f}"


def _choose(jobs: Sequence[JobStatus]) -> list[JobStatus]:
    """Of many jobs those that went wrong, those that run, and the most accurate."""
    third = MOST_JOBS // 3
    done = sorted((job for job in jobs if job.status == DONE), key=lambda job: job.top1 or -1.0, reverse=True)
    chosen = [*[job for job in jobs if job.status in (FAILED, INTERRUPTED)][:third]]
    chosen += [job for job in jobs if job.status == RUNNING][:third]
    chosen += done[: MOST_JOBS - len(chosen)]
    return sorted(chosen, key=lambda job: (STATUSES.index(job.status), job.number))


def _left(sweep: Sweep) -> Text | None:
    counts, seconds = sweep.counts, sweep.seconds_left
    waiting = counts[MISSING] + counts[INTERRUPTED]
    if not waiting + counts[RUNNING]:
        return None
    if seconds is None:
        return Text("left: no job is done yet, so there is no estimate")
    running = counts[RUNNING]
    how = f"{running} at a time" if running else "one after another; none runs now"
    return Text(f"left: about {duration(seconds)} ({duration(sweep.seconds_a_job)} a job, {how})")
