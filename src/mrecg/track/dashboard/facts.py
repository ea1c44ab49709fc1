"""Facts about runs that a dashboard needs, from their folders: names of curves, keys that differ."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrecg.errors import DataError, MrecgError
from mrecg.planner.schedule import Plan, group_name
from mrecg.report import find_runs
from mrecg.report.palette import colour_of
from mrecg.runs.layout import CONFIG, CURVES, PLAN, SUMMARY
from mrecg.runs.summary import RunSummary
from mrecg.system.checked_read import json_object, read_regular, yaml_mapping
from mrecg.track.wandb_logger import metrics
from mrecg.track.wandb_logger.labels import label

GROUPED_BY = ("model.name", "bits.weight", "bits.activation", "method.name", "planner.name")
"""Config keys that tell runs apart beside their label: those that vary group the runs, too, the rest (seeds)
is averaged over."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One way to cut one model into units.

    Attributes:
        model: Name of the model.
        units: Its units in network order.
        places: For each quantity of the optimisation curves where one stands (`metrics.places`),
            in network order, a later pass after the first.
    """

    model: str
    units: tuple[str, ...]
    places: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about all runs together.

    Attributes:
        project: W&B project that they were logged to.
        entity: W&B user or team; None where the configuration names none.
        networks: By model and units.
        quantities: Quantities of the optimisation curves, in the order of `metrics.CURVE`.
        criteria: Of the plans, by name and difference.
        keys: The label, and of `GROUPED_BY` those that vary.
        labels: In the order of the runs, each with its method's colour; empty where another one has it.
        against_block: Whether a run knows the block-wise run that it compares with.
        new_images: Whether a run has measured its units on evaluation images.
        floors: Whether a run has optimised anything, and so has floors.
        merged_pairs: How many pairs were merged, ascending, each once.
    """

    runs: int
    project: str
    entity: str | None
    networks: tuple[Network, ...]
    quantities: tuple[str, ...]
    criteria: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    labels: Mapping[str, str]
    against_block: bool
    new_images: bool
    floors: bool
    merged_pairs: tuple[int, ...]


def gather(folders: Sequence[Path]) -> Facts:
    """Read run folders; those of failed runs that have no plan say nothing.

    Args:
        folders: Run folders, or folders that hold some.

    Raises:
        DataError: There is no run, or a file is not what it should be.
    """
    found = [(path, _config(path), plan) for path in find_runs(folders) if (plan := _plan(path)) is not None]
    if not found:
        raise DataError(f"{folders[0]}: no run in it got as far as its plan; a dashboard needs one that did")
    networks: dict[tuple[str, tuple[str, ...]], set[tuple[str, str]]] = {}
    for path, config, plan in found:
        networks.setdefault((_value(config, "model.name"), plan.units), set()).update(_curves(path, plan))
    quantities = {quantity for curves in networks.values() for quantity, _ in curves}
    values = {key: {_value(config, key) for _, config, _ in found} for key in GROUPED_BY}
    if all(plan.granularity != "mixed" for *_, plan in found):
        del values["planner.name"]
    loggers = [config.get("logger", {}) for _, config, _ in found]
    summaries = [_summary(path) for path, *_ in found]
    return Facts(
        runs=len(found),
        project=next((logger["project"] for logger in loggers if logger.get("project")), "mrecg"),
        entity=next((logger["entity"] for logger in loggers if logger.get("entity")), None),
        networks=tuple(
            Network(model=model, units=units, places=_by_quantity(curves))
            for (model, units), curves in networks.items()
        ),
        quantities=tuple(q for q in metrics.CURVE if q in quantities),
        criteria=tuple(
            dict.fromkeys((c.name, c.difference) for *_, plan in found for c in metrics.leading(plan))
        ),
        keys=(metrics.LABEL, *(key for key, seen in values.items() if len(seen) > 1)),
        labels=_labels([_labelled(*one) for one in found]),
        against_block=any(summary.block_errors for summary in summaries),
        new_images=any(summary.evaluation_errors for summary in summaries),
        floors=bool(quantities),
        merged_pairs=tuple(sorted({sum(len(g) - 1 for g in plan.groups) for *_, plan in found})),
    )


def _plan(path: Path) -> Plan | None:
    file = path / PLAN
    if not file.is_file():
        return None
    try:
        return Plan.from_dict(json.loads(read_regular(file)))
    except (KeyError, TypeError, ValueError, MrecgError) as error:
        raise DataError(f"{file}: not a plan ({error!r}); leave its folder out") from error


def _config(path: Path) -> Mapping[str, Any]:
    file = path / CONFIG
    try:
        return yaml_mapping(read_regular(file))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: not readable ({' '.join(str(error).split())}); leave its folder out"
        ) from error


def _labelled(path: Path, config: Mapping[str, Any], plan: Plan) -> tuple[str, str]:
    """The label of a run, and its colour."""
    merged = bool(plan.merged)
    return label(config, path, merged=merged), colour_of(_value(config, "method.name"), merged=merged)


def _labels(found: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Give each colour to one label: two lines of one colour could not be told apart."""
    labels: dict[str, str] = {}
    for name, colour in found:
        if name not in labels:
            labels[name] = "" if colour in labels.values() else colour
    return labels


def _summary(path: Path) -> RunSummary:
    try:
        return RunSummary.readable(json_object(read_regular(path / SUMMARY)))
    except (OSError, ValueError) as error:
        raise DataError(f"{path / SUMMARY}: not readable ({error}); leave its folder out") from error


def _curves(path: Path, plan: Plan) -> Iterator[tuple[str, str]]:
    """Quantity and place of each curve that a run folder holds."""
    of = metrics.places(plan)
    for name in map(group_name, plan.groups):
        for file in (path / CURVES).glob("*.csv"):
            task = file.stem.removeprefix(name).removeprefix(".")
            if file.stem in (name, f"{name}.{task}"):
                place = metrics.with_pass(of[name], task, 2 if task else 1)
                lines = read_regular(file).decode().splitlines()
                yield from ((quantity, place) for quantity in _filled(lines))


def _by_quantity(curves: set[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    return {
        quantity: tuple(sorted(place for own, place in curves if own == quantity))
        for quantity in metrics.CURVE
    }


def _filled(lines: Sequence[str]) -> set[str]:
    """Columns of a curve that hold anything."""
    if not lines:
        return set()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    return {name for name, column in zip(header, zip(*rows, strict=False), strict=False) if any(column)} - {
        "step"
    }


def _value(config: Mapping[str, Any], key: str) -> str:
    value: Any = config
    for part in key.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return str(value)


def names(values: Iterable[str]) -> str:
    """Join names for a sentence."""
    return ", ".join(values) or "none"
