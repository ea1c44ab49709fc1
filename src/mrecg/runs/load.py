"""Read run folders; whatever is broken is one error that names the file and what to do."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mrecg.errors import DataError, MrecgError
from mrecg.planner.schedule import Plan, group_name
from mrecg.runs.index import Read
from mrecg.runs.layout import COMPLETED, CONFIG, CURVES, ENVIRONMENT, PLAN, SUMMARY
from mrecg.runs.records import Accuracy, Curve, Oscillation, Run, UnitResult
from mrecg.runs.values import LONGEST, clean, count, number, strings, times, whole, within
from mrecg.system.checked_read import DAMAGED, NoObjectError, json_object, read_regular, refuse_newer

T = TypeVar("T")


class BrokenRunsError(DataError):
    """Some runs of many cannot be shown.

    Args:
        broken: By folder what is wrong with its run; at least one.
    """

    def __init__(self, broken: Mapping[Path, DataError]) -> None:
        super().__init__(str(next(iter(broken.values()))))
        self.broken = dict(broken)


REMEDY = "repeat the run, or leave its folder out of the report"


def load_run(path: Path, *, read: Read = read_regular, detailed: bool = True) -> Run:
    """Read a run folder.

    Args:
        path: The folder.
        read: How its files are read.
        detailed: Whether to read more than summary.json: plan, curves, settings and environment.

    Returns:
        The run. One that did not complete may lack results, and is not refused.

    Raises:
        DataError: A file is missing, is not readable, or lacks a value.
    """
    path = Path(path)
    file = path / SUMMARY
    summary = _json(file, read)
    refuse_newer(summary, file)
    status = str(summary.get("status", COMPLETED))
    done = status == COMPLETED

    def get(key: str, convert: Callable[[Any], T], default: T) -> T:
        return _value(file, summary, key, convert, default=default, needed=done)

    def optional(key: str, convert: Callable[[Any], T], default: T) -> T:
        return _value(file, summary, key, convert, default=default, needed=False)

    bits: dict[str, Any] = get("bits", dict, {"weight": 0, "activation": 0})
    size: dict[str, int] = optional("size_bytes", whole, {})
    no_units: tuple[UnitResult, ...] = ()
    units = get("units", _units, no_units)
    # An old summary may not say what was merged.
    plan = (
        _plan(path / PLAN, read, needed=done)
        if detailed or not {"groups", "merge_count"} <= summary.keys()
        else None
    )
    groups = optional("groups", _groups, plan.groups if plan else ())
    written = _json(path / ENVIRONMENT, read, needed=False) if detailed else {}
    environment = {key: str(value) for key, value in written.items()}
    return Run(
        path=path,
        name=optional("run_name", str, "") or path.resolve().name,
        status=status,
        error=optional("error", str, ""),
        model=get("model", str, ""),
        data=get("data", str, ""),
        method=get("method", str, ""),
        granularity=get("granularity", str, ""),
        planner=optional("planner", str, ""),
        merge_count=plan.merge_count if plan else optional("merge_count", count, 0),
        weight_bits=_value(file, bits, "weight", count, default=0, needed=done),
        activation_bits=_value(file, bits, "activation", count, default=0, needed=done),
        stem_output=optional("stem_output", str, "low"),
        options=optional("options", strings, {}),
        batch_size=optional("batch_size", count, 0),
        precision=optional("precision", str, "32"),
        seed=get("seed", count, 0),
        steps=get("steps", count, 0),
        steps_per=optional("steps_per", str, "unit"),
        device=optional("device", str, ""),
        calibration_images=optional("calibration_images", count, 0),
        evaluation_images=optional("evaluation_images", count, 0),
        evaluation_set=optional("evaluation", lambda draw: str(draw.get("sha256", "")), ""),
        fp=optional("fp", _accuracy, None),
        quantized=optional("quantized", _accuracy, None),
        oscillation=_value(file, summary, "oscillation", _oscillation, default=None, needed=done),
        units=units,
        groups=groups,
        # What other runs had done before counts, too: otherwise the order of a sweep's jobs would decide.
        seconds=_sum(optional("timing_s", times, {}), optional("reused_s", times, {})),
        peak_memory_mb=optional("peak_memory_mb", lambda mb: within(float(mb), 0, LONGEST), 0.0),
        size_fp=size.get("fp", 0),
        size_quantized=size.get("quantized", 0),
        plan=plan,
        curves=tuple(
            _curves(
                path / CURVES,
                groups,
                optional("group_results", _floors, {}),
                optional("group_results", _later_passes, ("scales",)),
                read,
            )
        )
        if detailed
        else (),
        command=environment.pop("command", ""),
        config=_text(path / CONFIG, read) if detailed else "",
        environment=environment,
        detailed=detailed,
    )


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


def _value(
    file: Path, values: Mapping[str, Any], key: str, convert: Callable[[Any], T], *, default: T, needed: bool
) -> T:
    value = values.get(key)
    if value is None:
        if needed:
            raise DataError(f"{file}: key {key!r} is missing; {REMEDY}")
        return default
    try:
        return convert(value)
    except DAMAGED as error:
        raise DataError(f"{file}: key {key!r} is not as expected ({error!r}); {REMEDY}") from error


def _sum(own: Mapping[str, float], reused: Mapping[str, float]) -> dict[str, float]:
    return {key: seconds + reused.get(key, 0.0) for key, seconds in own.items()}


def _accuracy(values: Mapping[str, Any]) -> Accuracy:
    top1, top5 = (None if values.get(key) is None else float(values[key]) for key in ("top1", "top5"))
    if top1 is None:
        raise KeyError("top1")
    return Accuracy(top1=within(top1, 0, 1), top5=None if top5 is None else within(top5, 0, 1))


def _oscillation(values: Mapping[str, Any]) -> Oscillation:
    return Oscillation(
        error_index=number(values["error_index"]),
        error_peak=number(values["error_peak"]),
        loss_index=number(values["loss_index"]),
        loss_peak=number(values["loss_peak"]),
    )


def _units(values: Sequence[Mapping[str, Any]]) -> tuple[UnitResult, ...]:
    return tuple(
        UnitResult(
            name=str(u["name"]), group=int(u["group"]), error=number(u["error"]), loss=number(u["loss"])
        )
        for u in values
    )


def _groups(values: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, group)) for group in values)


def _plan(file: Path, read: Read, *, needed: bool) -> Plan | None:
    try:
        values = _json(file, read, needed=needed)
        return Plan.from_dict(values) if values or needed else None
    except DataError:
        raise
    except MrecgError as error:
        raise DataError(f"{file}: {error}; {REMEDY}") from error


def _floors(values: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Loss of each group in full precision, by group and by the suffix of its curve's file."""
    first = values[0]["pass"] if values else ""
    return {
        (str(v["name"]), "" if v["pass"] == first else str(v["pass"])): number(v["floor"])
        for v in values
        if v.get("floor") is not None
    }


def _later_passes(values: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the passes after the first; or "scales", of old records."""
    return tuple(dict.fromkeys(str(v["pass"]) for v in values))[1:] or ("scales",)


def _curves(
    folder: Path,
    groups: Sequence[Sequence[str]],
    floors: Mapping[tuple[str, str], float],
    later: Sequence[str],
    read: Read,
) -> list[Curve]:
    """Read curves in the order of the groups; a method without an optimisation has none."""
    files = {file.name.removesuffix(".csv"): file for file in folder.glob("*.csv")}
    found = []
    for name in map(group_name, groups):
        for stage in ("", *later):
            file = files.get(f"{name}.{stage}" if stage else name)
            if file is not None:
                found.append(_curve(file, name, stage, floors.get((name, stage)), read))
    return found


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
