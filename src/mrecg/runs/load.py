"""Read run folders; whatever is broken is one error that names the file and what to do."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mrecg.errors import DataError, MrecgError
from mrecg.planner.schedule import Plan, group_name
from mrecg.runs.index import Read
from mrecg.runs.layout import COMPLETED, CONFIG, CURVES, ENVIRONMENT, PLAN, SUMMARY
from mrecg.runs.records import Curve, Run
from mrecg.runs.summary import REMEDY
from mrecg.runs.values import clean, number
from mrecg.system.checked_read import DAMAGED, NoObjectError, json_object, read_regular, refuse_newer


class BrokenRunsError(DataError):
    """Some runs of many cannot be shown.

    Args:
        broken: By folder what is wrong with its run; at least one.
    """

    def __init__(self, broken: Mapping[Path, DataError]) -> None:
        super().__init__(str(next(iter(broken.values()))))
        self.broken = dict(broken)


def load_run(path: Path, *, read: Read = read_regular, detailed: bool = True) -> Run:
    """Read a run folder.

    Args:
        read: How its files are read.
        detailed: Whether to read more than summary.json: plan, curves, settings and environment.

    Returns:
        The run. One that did not complete may lack results, and is not refused.

    Raises:
        DataError: A file is missing, is not readable, or lacks a value.
    """
    path = Path(path)
    file = path / SUMMARY
    values = _json(file, read)
    refuse_newer(values, file)
    own: dict[str, Any] = {"path": path, "detailed": detailed}
    # An old summary may not say what was merged.
    if detailed or not {"groups", "merge_count"} <= values.keys():
        done = str(values.get("status", COMPLETED)) == COMPLETED
        plan = own["plan"] = load_plan(path, read=read, needed=done)
        if plan is not None:
            own["merge_count"] = plan.merge_count
            own |= {} if values.get("groups") is not None else {"groups": plan.groups}
    if not detailed:
        values.pop("group_results", None)  # only the curves need it
        return Run.read(values, file, **own)
    written = _json(path / ENVIRONMENT, read, needed=False)
    environment = {key: str(value) for key, value in written.items()}
    own |= {"command": environment.pop("command", ""), "environment": environment}
    run = Run.read(values, file, config=_text(path / CONFIG, read), **own)
    return run.model_copy(update={"curves": tuple(_curves(path / CURVES, run, read))})


def _text(file: Path, read: Read) -> str:
    try:
        return read(file).decode("utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        return ""


def _json(file: Path, read: Read, *, needed: bool = True) -> dict[str, Any]:
    try:
        found: dict[str, Any] = clean(json_object(read(file)))
        return found
    except FileNotFoundError:
        if not needed:
            return {}
        raise DataError(f"{file}: missing; {REMEDY}") from None
    except NoObjectError as error:
        raise DataError(f"{file}: {error}; {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error}); {REMEDY}") from error


def load_plan(path: Path, *, read: Read = read_regular, needed: bool = True) -> Plan | None:
    """Read the plan of a run folder.

    Args:
        read: How its file is read.
        needed: Whether it must be there.

    Returns:
        The plan; None where it is missing and need not be there.

    Raises:
        DataError: It is missing, or is not readable.
    """
    file = path / PLAN
    try:
        values = _json(file, read, needed=needed)
        return Plan.from_dict(values) if values or needed else None
    except DataError:
        raise
    except MrecgError as error:
        raise DataError(f"{file}: {error}; {REMEDY}") from error


def _curves(folder: Path, run: Run, read: Read) -> Iterator[Curve]:
    """Read curves in the order of the groups; a method without an optimisation has none."""
    files = {file.name.removesuffix(".csv"): file for file in folder.glob("*.csv")}
    passes = list(dict.fromkeys(group.task for group in run.group_results))
    stages = {task: task if i else "" for i, task in enumerate(passes)}  # the first has no suffix
    floors = {(group.name, stages[group.task]): group.floor for group in run.group_results}
    for name in map(group_name, run.groups):
        for stage in ("", *(passes[1:] or ["scales"])):  # old records do not name their passes
            file = files.get(f"{name}.{stage}" if stage else name)
            if file is not None:
                yield _curve(file, name, stage, floors.get((name, stage)), read)


def _curve(file: Path, group: str, stage: str, floor: float | None, read: Read) -> Curve:
    try:
        header, *rows = csv.reader(io.StringIO(read(file).decode("utf-8"), newline=""))
        columns = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
        steps = tuple(map(float, columns.pop("step")))
        values = {key: tuple(map(number, column)) for key, column in columns.items()}
        if "reconstruction" not in values:
            raise KeyError("reconstruction")
    except (OSError, csv.Error, *DAMAGED) as error:
        raise DataError(
            f"{file}: not a curve with columns step and reconstruction ({error!r}); {REMEDY}"
        ) from error
    logged = {
        key: column
        for key, column in values.items()
        if key == "reconstruction" or any(map(math.isfinite, column))
    }
    return Curve(group=group, stage=stage, steps=steps, values=logged, floor=floor)
