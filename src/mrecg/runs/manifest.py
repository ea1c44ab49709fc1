"""sweep.json: the jobs of a sweep, by the hash of what each of them will do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.config.validate import saved_config
from mrecg.errors import ConfigError, DataError
from mrecg.runs.layout import MANIFEST
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import DAMAGED, json_object, read_regular, refuse_newer

VERB = "quantize"
"""The one whose sweeps can be resumed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: Its place in the sweep, from 0.
        identity: Hash of its resolved configuration, 16 hexadecimal digits.
        folder: Its run folder, below the sweep's.
        overrides: What makes it.
        config: Its resolved configuration as plain values; None: recorded by an earlier version.
    """

    number: int
    identity: str
    folder: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a sweep is launched, for going on with it.

    Attributes:
        sweeper: ``grid`` or ``search``; empty: recorded by an earlier version.
        launcher: Words that choose the launcher and set its plain values.
        config_dir: A folder of configurations that was named; None: there was none.
    """

    sweeper: str = ""
    launcher: tuple[str, ...] = ()
    config_dir: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What sweep.json holds besides the configurations that jobs have in common.

    Attributes:
        typed: The command line as it was typed; empty where that is not known.
    """

    jobs: tuple[Job, ...] = ()
    typed: str = ""


def read_manifest(folder: Path) -> Manifest | None:
    """Read what a sweep has recorded.

    Returns:
        The record; None where there is no sweep.json.

    Raises:
        DataError: It is something else.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json_object(read_regular(file))
        refuse_newer(content, file)
        jobs = tuple(
            Job(
                number=int(job["number"]),
                folder=_inside(str(job["folder"])),
                identity=str(job["identity"]),
                overrides=tuple(map(str, job["overrides"])),
                config=_recorded(content, job),
            )
            for job in content["jobs"]
        )
        return Manifest(jobs=jobs, typed=str(content.get("command", "")))
    except (OSError, *DAMAGED) as error:
        raise DataError(
            f"{file}: not the list of a sweep's jobs ({error!r}); remove it to begin the sweep again"
        ) from error


def read_jobs(folder: Path) -> tuple[Job, ...]:
    """Read the jobs of a sweep; none where there is no sweep.json."""
    found = read_manifest(folder)
    return found.jobs if found else ()


def _recorded(content: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any] | None:
    """A job's configuration: what all have in common, and the groups in which it differs."""
    if "settings" not in content or job.get("changes") is None:
        return None
    return {**dict(content["settings"]), **dict(job["changes"])}


def _changes(common: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if config is None:
        return None
    return {key: value for key, value in config.items() if key not in common or common[key] != value}


def read_config_of(folder: Path, run: Path) -> RunConfig:
    """Read the configuration that a sweep has recorded for a job.

    Raises:
        DataError: There is no such job, or none of its configuration.
        ConfigError: It is not right.
    """
    for job in read_jobs(folder):
        if job.config is not None and (folder / job.folder).absolute() == run.absolute():
            return recorded_config(job, folder)
    raise DataError(f"{folder / MANIFEST}: has no configuration for {run}")


def recorded_config(job: Job, folder: Path) -> RunConfig:
    """Check the configuration that a sweep has recorded for a job.

    Args:
        job: The job, with a configuration.
        folder: The sweep's folder, for the message.

    Returns:
        The configuration; the job resumes with what it has, not with what it was told when it began.

    Raises:
        ConfigError: It is not right.
    """
    try:
        return replace(saved_config(job.config or {}), resume="auto", allow_import=False)
    except ConfigError as error:
        raise ConfigError(f"{folder / MANIFEST}: job {job.number}: {error}") from error


def read_launch(folder: Path) -> Launch:
    """Read how a sweep is launched.

    Returns:
        What is recorded of it; nothing in a sweep of an earlier version.

    Raises:
        DataError: There is no sweep.
    """
    file = folder / MANIFEST
    try:
        values = dict(json_object(read_regular(file)).get("launch") or {})
        place = values.get("config_dir")
        return Launch(
            sweeper=str(values.get("sweeper", "")),
            launcher=tuple(map(str, values.get("launcher", ()))),
            config_dir=None if place is None else str(place),
        )
    except (OSError, *DAMAGED) as error:
        raise DataError(f"{file}: cannot be read ({error}); name the folder of a sweep") from error


def read_command(folder: Path) -> tuple[str, list[str]]:
    """Read what started a sweep.

    Returns:
        The verb and its overrides, without the sweep's folder.

    Raises:
        DataError: There is no sweep.
    """
    file = folder / MANIFEST
    try:
        content = json_object(read_regular(file))
        refuse_newer(content, file)
        verb, words = str(content["verb"]), content["arguments"]
        if verb != VERB or not isinstance(words, list):
            raise ValueError(f"verb {verb!r} with arguments {words!r}")
        return verb, [str(word) for word in words]
    except (OSError, *DAMAGED) as error:
        raise DataError(f"{file}: cannot be read ({error}); name the folder of a sweep") from error


def write_jobs(
    folder: Path,
    jobs: Sequence[Job],
    *,
    command: str,
    verb: str,
    arguments: Sequence[str],
    launch: Launch | None = None,
) -> None:
    """Write the jobs of a sweep.

    Args:
        command: The command line as it was typed.
        arguments: What followed the verb, without flags and the sweep's folder.
        launch: How it is launched.
    """
    common = next((job.config for job in jobs if job.config is not None), {})
    content = {
        "schema_version": 1,
        "command": command,
        "verb": verb,
        "arguments": list(arguments),
        "launch": asdict(launch or Launch()),
        "settings": common,
        "jobs": [_entry(job, common) for job in jobs],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def _entry(job: Job, common: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in vars(job).items() if key != "config"}
    return {**values, "changes": _changes(common, job.config)}


def number_jobs(known: Sequence[Job], wanted: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[Job]:
    """Give each job its number and folder; one that the sweep has already keeps both.

    Args:
        known: Jobs of the sweep up to now.
        wanted: Identity, name of the run and overrides of each job; the same identity twice is one job.

    Returns:
        The wanted jobs in order, each once.
    """
    of = {job.identity: job for job in known}
    free = max((job.number for job in known), default=-1) + 1
    jobs: dict[str, Job] = {}
    for identity, name, overrides in wanted:
        if identity in jobs:
            continue
        if identity in of:
            jobs[identity] = replace(of[identity], overrides=overrides)
            continue
        jobs[identity] = Job(
            number=free, identity=identity, folder=f"{free}-{_plain_name(name)}", overrides=overrides
        )
        free += 1
    return list(jobs.values())


def _inside(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"folder {name!r} is not inside the sweep's")
    return name


def _plain_name(name: str) -> str:
    """A name that every file system takes, no longer than they take it."""
    return "".join(c if c.isalnum() or c in "._-+=" else "-" for c in name)[:120] or "run"
