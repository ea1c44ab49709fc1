"""How far a sweep is, from its files alone: sweep.json, and each job's summary.json and run.lock."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from mrecg.errors import DataError
from mrecg.runs.find import natural, runs_below
from mrecg.runs.index import Read
from mrecg.runs.layout import CONFIG, HYDRA, LOCK, MANIFEST, SUMMARY
from mrecg.runs.lock import locked
from mrecg.runs.manifest import read_manifest
from mrecg.runs.names import can_merge
from mrecg.runs.reader import Reader
from mrecg.runs.summary import RunSummary
from mrecg.system.checked_read import DAMAGED, json_object, read_regular, refuse_newer

DONE, FAILED, RUNNING, INTERRUPTED, MISSING = STATUSES = (
    "done",
    "failed",
    "running",
    "interrupted",
    "missing",
)
"""Interrupted jobs have begun and ended without a word, missing ones never began."""
_MARKS = frozenset({SUMMARY, LOCK, CONFIG, HYDRA})


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One job of a sweep.

    Attributes:
        number: Its place in the sweep.
        folder: Its run folder, relative to the sweep's.
        overrides: What it was asked for; empty in a sweep without sweep.json.
        status: One of `STATUSES`.
        subject: Network, images and bit widths; empty where they are not known.
        top1: Top-1 accuracy after quantization; None where there is none.
        to_block: That less the one of the block-wise job of the same settings, also of a layer-wise one; None
            where there is no such job, and of block-wise ones themselves.
        seconds: Of all stages, with what was reused from other jobs; of a running job since its start; None
            where that is not known.
        seconds_here: Those of them that the job itself took.
        seconds_reused: Those that other jobs had spent on what this one took from them.
        reason: Why it failed, in one line.
    """

    number: int
    folder: str
    overrides: tuple[str, ...] = ()
    status: str
    subject: str = ""
    top1: float | None = None
    to_block: float | None = None
    seconds: float | None = None
    seconds_here: float | None = None
    seconds_reused: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep and how far it is.

    Attributes:
        command: What started it; empty where that is not known.
        jobs: In the order of their numbers.
    """

    folder: Path
    command: str
    jobs: tuple[JobStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by status, all statuses."""
        found = Counter(job.status for job in self.jobs)
        return {status: found[status] for status in STATUSES}

    @property
    def seconds_a_job(self) -> float | None:
        """Mean time that the jobs took that are done, without what they reused; None while there is none."""
        times = [job.seconds_here for job in self.jobs if job.status == DONE and job.seconds_here is not None]
        return fmean(times) if times else None

    @property
    def seconds_left(self) -> float | None:
        """Time until all is done, if those that wait take the mean time, as many at once as run now.

        None while no job is done, and where none is left; without a running job, that of one after another.
        """
        mean, counts = self.seconds_a_job, self.counts
        waiting, running = counts[MISSING] + counts[INTERRUPTED], counts[RUNNING]
        if mean is None or not waiting + running:
            return None
        begun = sum(max(0.0, mean - (job.seconds or 0.0)) for job in self.jobs if job.status == RUNNING)
        return (mean * waiting + begun) / max(running, 1)

    @property
    def best(self) -> dict[str, JobStatus]:
        """The most accurate job of each network and bit widths."""
        found: dict[str, JobStatus] = {}
        for job in self.jobs:
            if job.status == DONE and job.top1 is not None:
                known = found.get(job.subject)
                if known is None or known.top1 is None or job.top1 > known.top1:
                    found[job.subject] = job
        return found


def read_sweep(folder: Path) -> Sweep:
    """Read how far a sweep is.

    Args:
        folder: The sweep's folder. Without sweep.json its jobs are the run folders in it.

    Raises:
        DataError: There is no such folder, nothing of a sweep in it, or its sweep.json is broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder of a sweep")
    command, jobs = _manifest(folder)
    if not jobs:
        raise DataError(f"{folder}: no sweep in it (neither {MANIFEST} nor a run folder)")
    places = [folder / name for _, name, _ in jobs]
    with Reader([folder], places, every=False) as read:
        found = [
            _job(number, place, name, overrides, read)
            for (number, name, overrides), place in zip(jobs, places, strict=True)
        ]
    return Sweep(folder=folder, command=command, jobs=_against_block(found))


def _against_block(found: Sequence[tuple[JobStatus, RunSummary | None]]) -> tuple[JobStatus, ...]:
    """Compare jobs, also layer-wise ones, with the block-wise ones of the same settings."""
    block_wise: dict[tuple[object, ...], float] = {}
    for job, run in found:
        if run is not None and job.status == DONE and job.top1 is not None and _block_wise(run):
            block_wise.setdefault(_settings(run), job.top1)
    compared = []
    for job, run in found:
        known = None if run is None or _block_wise(run) else block_wise.get(_settings(run))
        more = None if known is None or job.top1 is None else job.top1 - known
        compared.append(replace(job, to_block=more))
    return tuple(compared)


def _block_wise(run: RunSummary) -> bool:
    if run.granularity in ("block", "layer"):
        return run.granularity == "block"
    return run.merged_pairs == 0 or not can_merge(run.method)


def _settings(run: RunSummary) -> tuple[object, ...]:
    """What two jobs must share to differ in their merges alone."""
    options = sorted((k, str(v)) for k, v in run.options.items() if not k.startswith("planner."))
    of_images = (run.calibration_images, *run.evaluated_on)
    return (
        *(run.model, run.data, run.widths, run.boundary_bits, run.stem_output, run.method, run.seed),
        *(run.steps, run.batch_size, str(run.precision), *of_images, tuple(options)),
    )


def _manifest(folder: Path) -> tuple[str, list[tuple[int, str, tuple[str, ...]]]]:
    """The command, and of each job number, folder and overrides."""
    found = read_manifest(folder)
    if found is not None:
        return found.typed, sorted((job.number, job.folder, job.overrides) for job in found.jobs)
    runs = sorted(runs_below(folder, _MARKS), key=natural)
    return "", [(i, run.relative_to(folder).as_posix(), ()) for i, run in enumerate(runs)]


def _job(
    number: int, place: Path, name: str, overrides: tuple[str, ...], read: Read
) -> tuple[JobStatus, RunSummary | None]:
    found: RunSummary | None = None
    broken = ""
    try:
        values = json_object(read(place / SUMMARY))
        refuse_newer(values, Path(SUMMARY))
        found = RunSummary.readable(values, units=False) if values else None
        broken = "" if values else "summary.json is empty"
    except (FileNotFoundError, NotADirectoryError):
        pass
    except DataError as error:
        broken = str(error)
    except (OSError, ValueError) as error:
        broken = f"summary.json is not readable: {error}"
    if found is not None:
        status = DONE if found.completed else FAILED
    elif locked(place):
        status = RUNNING  # also while its summary is being written
    elif broken:
        status = FAILED
    else:
        # A folder that was never locked was made by the engine, for a job that has not begun.
        begun = (place / LOCK).exists() or (place / CONFIG).exists()
        status = INTERRUPTED if begun else MISSING
    elapsed = _elapsed(place) if status == RUNNING else None
    times = found if found and found.timing_s else None
    reason = broken or (found and found.error) or "no reason was recorded"
    job = JobStatus(
        number=number,
        folder=name,
        overrides=overrides,
        status=status,
        subject=f"{found.model} on {found.data}, {found.widths}" if found and found.widths else "",
        top1=found.quantized.top1 if found and found.quantized else None,
        seconds=times.total_seconds if times else elapsed,
        seconds_here=times.seconds_here if times else elapsed,
        seconds_reused=times.seconds_reused if times else None,
        reason=" ".join(reason.split()) if status == FAILED else "",
    )
    return job, found


def _elapsed(place: Path) -> float | None:
    try:
        started = datetime.fromisoformat(str(json.loads(read_regular(place / LOCK))["started"]))
        return max(0.0, (datetime.now(UTC) - started).total_seconds())
    except (OSError, *DAMAGED):
        return None
