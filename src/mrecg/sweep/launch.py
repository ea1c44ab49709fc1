"""Launch the jobs of a sweep until each has ended by itself: one that was killed is tried again, alone."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from mrecg.config.grammar import hydra_quoted
from mrecg.config.words import recordable
from mrecg.errors import ConfigError
from mrecg.runs.layout import COMPLETED, FAILED, LOCK, RUNNING, SUMMARY
from mrecg.runs.lock import locked, refuse_links
from mrecg.runs.manifest import Job
from mrecg.sweep.job_state import begun, finished, held, state, unfinished
from mrecg.system.lock import SAY_AGAIN_SECONDS, SAY_SECONDS, owner_of

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5


class Launcher(Protocol):
    """The part of a Hydra launcher that is used here."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """Run some jobs and give their returns, in order."""


def launch_all(
    launcher: Launcher,
    jobs: Sequence[Job],
    folder: Path,
    *,
    retries: int,
    batch: int | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Launch the jobs that are not done.

    A job that fails has said so in its folder. One whose process is killed has not: it is launched again, and
    by itself, because with some engines a killed process takes its neighbours along.

    Args:
        retries: How often jobs that were killed are launched again.
        batch: Jobs per launch, at most; None: all.
        wait: Waits some seconds.
    """
    todo = [job for job in jobs if not _complete(job, folder)]
    for job in todo:
        _refuse_elsewhere(folder, job)
    for job in todo:  # what failed is tried again
        if state(folder / job.folder) == FAILED:
            (folder / job.folder / SUMMARY).unlink()
    for attempt in range(1 + retries):
        _wait_for_running(todo, folder, wait)
        over = _ended if attempt else _complete  # one try for what has its result, and lacks its page
        todo = [job for job in todo if not over(job, folder)]
        for job in todo:
            _set_aside(job, folder)
        if not todo:
            return
        if attempt:
            log.warning("%d jobs ended without a result; launching them again", len(todo))
        for part in _parts(todo, folder, batch, alone=attempt > 0):
            try:
                launcher.launch([_overrides(job) for job in part], part[0].number)
            except Exception as error:  # engines raise different kinds for a process that is gone
                log.warning("the launcher lost jobs: %s", " ".join(str(error).split()) or repr(error))
    _wait_for_running(todo, folder, wait)


def _parts(jobs: Sequence[Job], folder: Path, batch: int | None, *, alone: bool) -> Iterator[Sequence[Job]]:
    """Those that never began come first; those that were lost one at a time, where they are suspected."""
    suspects = [job for job in jobs if alone and begun(folder / job.folder)]
    others = [job for job in jobs if job not in suspects]
    size = batch or max(len(others), 1)
    yield from (others[i : i + size] for i in range(0, len(others), size))
    yield from ([job] for job in suspects)


def _refuse_elsewhere(folder: Path, job: Job) -> None:
    """Refuse to launch a job whose folder, or something in it, leads out of the sweep's."""
    place = folder / job.folder
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{place}: is a link, and a job would write there; remove it")
    refuse_links(place)


def _overrides(job: Job) -> list[str]:
    return [*job.overrides, f"hydra.sweep.subdir={hydra_quoted(job.folder)}"]


def _complete(job: Job, folder: Path) -> bool:
    return finished(folder / job.folder, job.identity) and not unfinished(folder / job.folder)


def _ended(job: Job, folder: Path) -> bool:
    return state(folder / job.folder) == FAILED or finished(folder / job.folder, job.identity)


def _set_aside(job: Job, folder: Path) -> None:
    """Move what is not a job's own out of its folder: it is not taken for its result, and is not lost."""
    place = folder / job.folder
    holds = held(place)
    foreign = holds != job.identity and (holds is not None or state(place) == COMPLETED)
    if not foreign or locked(place):
        return
    names = (place.with_name(f"{place.name}.other{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    place.rename(aside)
    log.warning("%s holds a run with other settings; it is now in %s, and the job runs", place, aside)


def _wait_for_running(jobs: Sequence[Job], folder: Path, wait: Callable[[float], None]) -> None:
    """Wait for jobs that still run after their launcher gave up or their sweep was killed."""
    waited, say_at = 0.0, SAY_SECONDS
    while running := [job for job in jobs if state(folder / job.folder) == RUNNING]:
        wait(POLL_SECONDS)
        waited += POLL_SECONDS
        if waited >= say_at:
            place = folder / running[0].folder
            more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
            log.warning("waiting for %s, which works in %s%s", owner_of(place / LOCK), place, more)
            say_at = waited + SAY_AGAIN_SECONDS


def launching(config: DictConfig) -> tuple[str, ...]:
    """Write down how jobs are launched, as words that need no configuration of the user's.

    Args:
        config: The composed tree with its hydra node.

    Returns:
        The launcher's preset and its plain values, as far as a folder is believed with them.
    """
    choice = OmegaConf.select(config, "hydra.runtime.choices")["hydra/launcher"]
    words = [f"hydra/launcher={choice}"]
    for place in ("launcher", "sweeper"):
        values = OmegaConf.to_container(OmegaConf.select(config, f"hydra.{place}"), resolve=False)
        assert isinstance(values, dict)
        values.pop("params", None)
        words += _words(f"hydra.{place}", values)
    return tuple(word for word in words if recordable(word))


def _words(prefix: str, values: Mapping[Any, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _words(f"{prefix}.{key}", value)
        elif value is None or isinstance(value, int | float | str):
            yield f"{prefix}.{key}={'null' if value is None else value}"


def workers_of(launcher: Any, jobs: int, batch: int | None = None) -> int:
    """Find out how many jobs will share this machine.

    Args:
        batch: Jobs per launch, at most; None: all.

    Returns:
        At least 1; 1 also where an engine gives each job what it asked for.
    """
    kind = type(launcher).__name__
    if kind == "JoblibLauncher":
        from joblib import effective_n_jobs

        return min(jobs, int(effective_n_jobs(int(launcher.joblib["n_jobs"] or 1))))
    if kind == "LocalLauncher":  # submitit starts all at once
        return min(jobs, batch or jobs)
    return 1


SLURM_ARRAY = 1000
"""Jobs in one array: Slurm's own limit (MaxArraySize) is 1001 unless the site has set another."""


def batch_of(launcher: Any, *, cpu: bool) -> int | None:
    """Find out how many jobs an engine can be given at a time, where it does not see to that itself.

    Args:
        cpu: Whether jobs stay on the CPU anyway.

    Returns:
        Their number; None: any.
    """
    kind = type(launcher).__name__
    if kind == "LocalLauncher":  # submitit starts all at once
        from mrecg.system.devices import processors  # not before: it imports torch

        return _gpus(cpu) or processors()
    return SLURM_ARRAY if kind == "SlurmLauncher" else None


def fit(launcher: Any, *, cpu: bool) -> None:
    """Fill in what a launcher's preset leaves open: one job per GPU where there are some.

    Args:
        launcher: Hydra's launcher, changed in place.
        cpu: Whether jobs stay on the CPU anyway.
    """
    kind = type(launcher).__name__
    if kind == "JoblibLauncher" and int(launcher.joblib["n_jobs"] or 0) < 0 and (gpus := _gpus(cpu)):
        launcher.joblib["n_jobs"] = gpus
    if kind == "RayLauncher":
        remote = launcher.ray_cfg.remote
        if remote.get("num_gpus", 0) is None:
            remote["num_gpus"] = 1 if _gpus(cpu) else 0
        _connect(launcher.ray_cfg.init)


def _gpus(cpu: bool) -> int:
    if cpu:
        return 0
    import torch

    return torch.cuda.device_count()


def _connect(init: Mapping[str, Any]) -> None:
    """Connect to Ray before the launcher does: it always asks for an object store, which clusters refuse."""
    import ray

    if not ray.is_initialized():
        ray.init(**{key: value for key, value in init.items() if value is not None})
