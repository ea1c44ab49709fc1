"""Read finished run folders into the content of one docs/results/NAME.json."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from mrecg.config.schema import BitsConfig, PlannerConfig, RunConfig
from mrecg.config.validate import plain, saved_config
from mrecg.errors import DataError, MrecgError
from mrecg.methods.registry import METHODS
from mrecg.runs.load import load_run
from mrecg.runs.records import Run
from mrecg.runs.summary_parts import Accuracy
from results.records import Content, Record, identity, order

DIGITS = 6
"""Significant digits that are kept."""
SHA = 12
"""Digits of a SHA-256 that are kept."""
ALWAYS = {
    *("model.name", "model.input_shape", "data.name", "data.calibration_images"),
    *("trainer.steps", "trainer.batch_size", "trainer.lr_factor"),
}
"""Settings that are kept though they are the defaults."""
ELSEWHERE = (
    *("bits.", "method.", "planner.", "granularity.name", "granularity.groups"),
    *("model.source", "model.target", "model.weights", "model.checkpoint", "model.rename", "model.sha256"),
    *("data.source", "data.calibration_path", "data.calibration_dataset", "data.calibration_arguments"),
    *("data.evaluation", "data.labels_path", "data.classes_path", "data.batch_size", "data.workers"),
    *("trainer.chunk", "trainer.log_every", "trainer.device", "trainer.threads"),
    *("cache.device", "cache.budget_mb", "cache.folder", "logger.", "name", "seed", "run"),
)
"""Beginnings of keys that stand elsewhere in a record, belong to a machine, or change no number."""
UNLEARNED = ("trainer.", "precision")
"""Beginnings of keys that mean nothing to a method without an optimisation."""
COUNTED = ("modcap", "loss", "error")
"""Planners that heed planner.merge_count."""


def collect(folders: Sequence[Path]) -> Content:
    """Read run folders.

    Args:
        folders: Finished runs of one network on one set of images, in any order.

    Returns:
        ``shared``: what all runs have in common; ``runs``: one record a run, sorted.

    Raises:
        DataError: A folder holds no completed run, two hold the same, or they do not belong together.
    """
    runs: list[Record] = []
    seen: dict[tuple[str, int], Path] = {}
    for folder in folders:
        found = record(folder)
        first = seen.setdefault((identity(found), found["seed"]), folder)
        if first is not folder:
            raise DataError(f"{folder}: the same configuration and seed as {first}; leave one of them out")
        for key in ("model.name", "data.name"):
            here, there = found["settings"][key], (runs or [found])[0]["settings"][key]
            if here != there:
                raise DataError(f"{folder}: {key} is {here}, not {there} as before; one file holds one of it")
        runs.append(found)
    runs.sort(key=lambda run: (*order(run), run["seed"]))
    units = Counter(tuple(run["units"]) for run in runs).most_common(1)[0][0]
    for run in runs:
        if tuple(run["units"]) == units:
            del run["units"]
    shared = {key: _in_common(runs, key) for key in ("settings", "environment")}
    return {"shared": {**shared, "units": list(units)}, "runs": runs}


def dump(content: Content) -> str:
    """Write the content so that a changed run is a changed line.

    Args:
        content: What `collect` gave.

    Returns:
        JSON with sorted keys, one line a key.
    """
    shared = _lines(content["shared"], 2)
    runs = ",\n".join("  {\n" + _lines(run, 4) + "\n  }" for run in content["runs"])
    return f'{{\n "shared": {{\n{shared}\n }},\n "runs": [\n{runs}\n ]\n}}\n'


def record(folder: Path) -> Record:
    """Read one run folder.

    Args:
        folder: The folder.

    Returns:
        Plain values; no path of the machine is among them.

    Raises:
        DataError: The run is not completed, or a file cannot be read.
    """
    if not (folder / "summary.json").is_file():
        raise DataError(f"{folder}: not completed (no summary.json); finish the run, or leave it out")
    run = load_run(folder)
    if not run.completed:
        why = " ".join(f"{run.status}: {run.error}".split())[:200].rstrip(": ")
        raise DataError(f"{folder}: not completed ({why}); repeat the run, or leave it out")
    if not run.units or not run.oscillation:
        raise DataError(f"{folder}/summary.json: no units in it; repeat the run, or leave it out")
    config = _config(run)
    method, mixed = config.method.name, config.granularity.name == "mixed"
    bits = config.bits
    rounded: Record = _rounded(
        {
            "method": method,
            "options": _differences(plain(config.method), plain(METHODS.get(method).settings()), ("name",)),
            "bits": {
                **{"weight": bits.weight, "activation": bits.activation},
                **_differences(plain(bits), plain(BitsConfig()), ("weight", "activation")),
            },
            "granularity": config.granularity.name,
            "planner": _planner(config.planner) if mixed else {},
            "groups": [list(group) for group in run.merged],
            "seed": config.seed,
            "settings": _settings(config, run),
            "environment": _environment(run),
            "units": list(run.unit_names),
            "fp_top1": _top1(run.fp),
            "top1": _top1(run.quantized),
            "evaluation_images": run.evaluation_images,
            "oscillation": asdict(run.oscillation),
            "errors": [unit.error for unit in run.units],
            "losses": [unit.loss for unit in run.units],
            "last_error": run.units[-1].error,
            "timing_s": dict(run.seconds),
        }
    )
    return rounded


def _config(run: Run) -> RunConfig:
    file = run.path / "config.yaml"
    try:
        values = yaml.safe_load(run.config)
        if not isinstance(values, Mapping):
            raise DataError("missing, or holds no configuration")
        return saved_config(values)
    except (MrecgError, yaml.YAMLError) as error:
        raise DataError(f"{file}: {' '.join(str(error).split())[:300]}") from error


def _settings(config: RunConfig, run: Run) -> Record:
    values, defaults = dict(_flat(plain(config))), dict(_flat(plain(RunConfig())))
    preprocessing, weights = run.preprocessing or {}, run.weights or {}
    values["data.evaluated_images"] = run.evaluation_images
    values["model.input_shape"] = preprocessing.get("input_shape", values["model.input_shape"])
    kept = {
        key: value
        for key, value in values.items()
        if not key.startswith(ELSEWHERE) and (key in ALWAYS or value != defaults.get(key))
    }
    if config.method.name == "rtn":
        kept = {key: value for key, value in kept.items() if not key.startswith(UNLEARNED)}
    if weights:
        kept["weights"] = _public(str(weights.get("origin", "")))
        kept |= {"weights_sha256": weights["sha256"][:SHA]} if weights.get("sha256") else {}
    return kept


def _public(origin: str) -> str:
    """Leave of a file its name; a package's file and a download say where they come from."""
    return origin if origin.startswith(("pkg://", "http://", "https://")) else PurePosixPath(origin).name


def _planner(config: PlannerConfig) -> Record:
    # Compared with the schema's own defaults; merge_count may be the default.
    found: Record = {"name": config.name}
    found |= _differences(plain(config), plain(PlannerConfig()), ("name", "merge_count", "schedule"))
    if config.name in COUNTED:
        found["merge_count"] = config.merge_count
    return found | ({"schedule": config.schedule} if config.name == "published" and config.schedule else {})


def _environment(run: Run) -> Record:
    keys = ("mrecg", "torch", "device", "device_name", "threads")
    found: Record = {key: run.environment[key] for key in keys if key in run.environment}
    for key, drawn in (("calibration", run.calibration), ("evaluation", run.evaluation)):
        sha = (drawn or {}).get("sha256")
        found |= {f"{key}_sha256": sha[:SHA]} if sha else {}
    return found


def _differences(values: Record, defaults: Record, without: Sequence[str]) -> Record:
    return {key: value for key, value in values.items() if key not in without and value != defaults.get(key)}


def _top1(accuracy: Accuracy | None) -> float | None:
    return accuracy.top1 if accuracy else None


def _in_common(runs: Sequence[Record], section: str) -> Record:
    """Take out of the records what all runs have that it means something to."""
    found: Record = {}
    for key in sorted({key for run in runs for key in run[section]}):
        concerned = [run for run in runs if not (run["method"] == "rtn" and key.startswith(UNLEARNED))]
        values = [run[section].get(key) for run in concerned]
        if all(key in run[section] for run in concerned) and all(value == values[0] for value in values):
            found[key] = values[0]
            for run in concerned:
                del run[section][key]
    return found


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _rounded(value: Any) -> Any:
    """Round numbers, and leave of an absolute path its last part."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or value.startswith("~"):
                return kind(value).name
    return value


def _lines(values: Mapping[str, Any], indent: int) -> str:
    def text(value: Any) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)

    return ",\n".join(
        f"{' ' * indent}{text(key)}: {text(value)}"
        for key, value in sorted(values.items())
        if value not in ({}, [])
    )
