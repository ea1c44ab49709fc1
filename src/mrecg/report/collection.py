"""The numbers of many runs as one JSON file, without a path of the machine: to keep, to send, to compare."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrecg.errors import ConfigError, DataError, MrecgError, legible
from mrecg.planner.schedule import Plan, validate
from mrecg.report.compare import sort_key
from mrecg.runs.index import Read
from mrecg.runs.load import load_run
from mrecg.runs.records import Run
from mrecg.runs.summary import REMEDY, RunSummary
from mrecg.runs.values import clean
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import SCHEMA, NoObjectError, json_object, read_regular, refuse_newer

SUFFIX = ".json"
ENVIRONMENT = ("mrecg", "torch", "python", "device", "device_name", "threads")
"""What is kept of environment.json."""
AGAIN = "write it again: mrecg report RUNS --json FILE"
ELSE = "name run folders, or a file of mrecg report --json"

_PATH = re.compile(
    r"(?:file://(?=/)|(?<![\w:/\\.~]))"  # no address of the web, and not the middle of a path
    r"(?:[A-Za-z]:[\\/]|\\\\|~[\w.-]*/|/)(?:[^\s'\"`,;:()/\\]+[/\\]+)*(?=[^\s/\\])"
)


def check_target(file: Path) -> None:
    """Refuse a file that must not be written, before any work.

    Args:
        file: What `write_collection` shall write.

    Raises:
        ConfigError: Its name does not end in .json, or another file than of `write_collection` is there.
    """
    if file.suffix != SUFFIX:
        raise ConfigError(f"report: --json {legible(str(file))}: FILE must end in {SUFFIX}")
    if file.exists():
        try:
            _records(file)
        except DataError as error:
            raise ConfigError(
                f"report: --json {legible(str(file))}: is there and is no such file; name another"
            ) from error


def write_collection(lines: Iterable[str], file: Path) -> Path:
    """Write the numbers of runs, one run a line, so that a changed run is a changed line.

    Args:
        lines: See `described`.
        file: Its folder is made.
    """
    text = ",\n".join(f"  {line}" for line in lines)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = f'{{\n "schema_version": {SCHEMA},\n "runs": [\n{text}\n ]\n}}\n'
    write_durably(file, content.encode(errors="replace"), follow=True)
    return file


def described(
    runs: Sequence[Run], *, read: Read = read_regular, broken: dict[Path, DataError] | None = None
) -> dict[str, Run]:
    """Describe runs in one line each, as `write_collection` takes them.

    Args:
        runs: Any runs; of those that were not read whole the plan is read now.
        read: How files of runs are read.
        broken: Gets the errors of runs that cannot be described, which are then left out; None: the first
            such error is raised.

    Returns:
        Runs by their line, in the order of tables; of several with the same numbers the first: a run's
        folder and a file that has it, too, are one run.

    Raises:
        DataError: Of any run, or of all of them: see `record`.
    """
    found: dict[str, Run] = {}
    for run in runs:
        try:
            found.setdefault(json.dumps(record(run, read=read), ensure_ascii=False, sort_keys=True), run)
        except DataError as error:
            if broken is None:
                raise
            broken[run.path] = error
    if broken and not found:
        raise next(iter(broken.values()))
    return dict(sorted(found.items(), key=lambda item: sort_key(item[1])))


def record(run: Run, *, read: Read = read_regular) -> dict[str, Any]:
    """Describe a run by its summary, its plan, and what it ran on.

    Args:
        read: How its files are read, where that was not done.

    Returns:
        Plain values; of each path in them only the last part is left.

    Raises:
        DataError: The plan cannot be read, or its units are others than the summary's.
    """
    whole = run if run.detailed else load_run(run.path, read=read)
    _check_groups(whole, whole.path)
    summary = whole.model_dump(
        mode="json",
        by_alias=True,
        exclude_unset=True,
        exclude_none=True,
        include=set(RunSummary.model_fields),
    )
    summary |= {"run_name": whole.name, "options": public_options(whole.options)}
    found = {
        "summary": summary,
        "environment": {key: whole.environment[key] for key in ENVIRONMENT if key in whole.environment},
        "plan": whole.plan.as_dict() if whole.plan else None,
    }
    kept: dict[str, Any] = without_paths({key: value for key, value in found.items() if value})
    return kept


def read_collection(file: Path) -> list[Run]:
    """Read what `write_collection` wrote.

    Returns:
        The runs, in the file's order; they have numbers, plan and environment, and no curves.

    Raises:
        DataError: The file is missing, is another one, is damaged, or was made by a newer version.
    """
    found = list(_runs(file))
    if not found:
        raise DataError(f"{file}: no run in it; {ELSE}")
    return found


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Shorten the paths among options, so that two that differ still do."""
    return {key: _told_apart(value) for key, value in options.items()}


def without_paths(values: Any) -> Any:
    r"""Leave of each path in plain values its last part.

    >>> without_paths({"origin": "/home/me/nets/a.pth", "note": "read /data/my.csv: 3 lines; a/b, 3 / 4"})
    {'origin': 'a.pth', 'note': 'read my.csv: 3 lines; a/b, 3 / 4'}
    >>> without_paths(["pkg://a/b.pth", "https://host/a/b", "~/x/y", "C:\\Users\\me\\z", "file:///u/v"])
    ['pkg://a/b.pth', 'https://host/a/b', 'y', 'z', 'v']
    """
    if isinstance(values, str):
        return _PATH.sub("", values)
    if isinstance(values, Mapping):
        return {without_paths(key): without_paths(value) for key, value in values.items()}
    return [without_paths(value) for value in values] if isinstance(values, list | tuple) else values


def _told_apart(value: Any) -> Any:
    text = str(value)
    short = without_paths(text)
    return value if short == text else f"{short} ({hashlib.sha256(text.encode()).hexdigest()[:6]})"


def _records(file: Path) -> list[Any]:
    try:
        values = json_object(read_regular(file))
    except FileNotFoundError:
        raise DataError(f"{file}: missing; {ELSE}") from None
    except NoObjectError as error:
        raise DataError(f"{file}: {error}; {ELSE}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error}); {AGAIN}") from error
    refuse_newer(values, file)
    found = values.get("runs")
    if not isinstance(found, list):
        raise DataError(f"{file}: holds no list of runs; {ELSE}")
    return found


def _runs(file: Path) -> Iterator[Run]:
    for number, one in enumerate(_records(file), 1):
        where = f"{file}: run {number}"
        try:
            yield _run(one, Path(where), file / f"{number:06d}")
        except MrecgError as error:
            raise DataError(f"{str(error).removesuffix(f'; {REMEDY}')}; {AGAIN}") from error


def _run(given: object, where: Path, path: Path) -> Run:
    parts = clean(given)
    if not isinstance(parts, dict) or not all(isinstance(value, dict) for value in parts.values()):
        raise DataError(f"{where}: is no run")
    if "summary" not in parts:
        raise DataError(f"{where}: key 'summary' is missing")
    refuse_newer(parts["summary"], where)
    try:
        plan = Plan.from_dict(parts["plan"]) if "plan" in parts else None
    except MrecgError as error:
        raise DataError(f"{where}: {error}") from error
    environment = {key: str(value) for key, value in parts.get("environment", {}).items()}
    run = Run.read(parts["summary"], where, path=path, plan=plan, environment=environment)
    _check_groups(run, where)
    return run


def _check_groups(run: Run, where: Path) -> None:
    """Refuse groups that no figure could draw; a run that did not complete may lack them."""
    if not run.completed:
        return
    try:
        validate(run.unit_names, run.groups)
    except MrecgError as error:
        raise DataError(f"{where}: {error}") from error
    if not all(0 <= unit.group < len(run.groups) for unit in run.units):
        raise DataError(f"{where}: key 'units' is not as expected (it names a group that is not there)")
