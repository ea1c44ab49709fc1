"""State of a job of a sweep, from its run folder alone."""

from pathlib import Path

from mrecg.errors import ConfigError
from mrecg.runs.identity import identity_of, read_config
from mrecg.runs.layout import CHECKPOINT, COMPLETED, CONFIG, FAILED, OPEN, PAGE, RUNNING, SUMMARY
from mrecg.runs.lock import locked
from mrecg.runs.summary import RunSummary
from mrecg.system.checked_read import json_object, read_regular


def state(folder: Path) -> str:
    """Return the state of a job.

    Returns:
        ``completed``, ``failed``, ``running`` or ``open``: not begun, or interrupted.
    """
    found = _summary(folder)
    if found is not None and found.status in (COMPLETED, FAILED):
        return found.status
    return RUNNING if locked(folder) else OPEN


def finished(folder: Path, identity: str) -> bool:
    """Return whether a folder holds the result of a job.

    Args:
        identity: Of the job. What completed there under other settings is another run's result.
    """
    return state(folder) == COMPLETED and held(folder) == identity


def unfinished(folder: Path) -> bool:
    """Return whether a job was ended between its summary and its page: that is all that is missing."""
    return (folder / CHECKPOINT).is_dir() or not (folder / PAGE).exists()


def held(folder: Path) -> str | None:
    """Find out which run a folder holds, complete or not.

    Returns:
        The identity of its configuration; None where there is none that can be read.
    """
    try:
        return identity_of(read_config(folder))
    except ConfigError:
        return None


def reason(folder: Path) -> str:
    """Say why a job failed, as far as it could still say it."""
    found = _summary(folder)
    return found.error if found else ""


def begun(folder: Path) -> bool:
    """Return whether a job has ever begun."""
    return (folder / CONFIG).exists()


def _summary(folder: Path) -> RunSummary | None:
    """The summary; None where there is none, or one that does not say how the run ended."""
    try:
        found = RunSummary.readable(json_object(read_regular(folder / SUMMARY)), units=False)
    except (OSError, ValueError):
        return None
    return found if "status" in found.model_fields_set else None
