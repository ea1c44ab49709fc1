"""The content of docs/results/NAME.json, its seeds gathered to configurations in table order."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mrecg.errors import DataError
from mrecg.report.compare import METHODS

Record = dict[str, Any]
Content = dict[str, Any]

GRANULARITIES = ("layer", "block", "mixed", "fixed", "stage", "network")
PLANNERS = ("modcap", "loss", "error", "budget", "published")
EMPTY: Mapping[str, Any] = {
    **{"options": {}, "planner": {}, "groups": [], "settings": {}, "environment": {}},
    **{"fp_top1": None, "top1": None},
}
"""What a record lacks when there is nothing to say."""
MEASURES: dict[str, Callable[[Record], float | None]] = {
    "top1": lambda run: run["top1"],
    "error_index": lambda run: run["oscillation"]["error_index"],
    "error_peak": lambda run: run["oscillation"]["error_peak"],
    "loss_index": lambda run: run["oscillation"]["loss_index"],
    "last_error": lambda run: run["last_error"],
    "seconds": lambda run: sum(run["timing_s"].values()),
}
"""Numbers of a run by name."""


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seed alone.

    Attributes:
        runs: By seed.
    """

    runs: tuple[Record, ...]

    def __getitem__(self, key: str) -> Any:
        return self.runs[0][key]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(run["seed"] for run in self.runs)

    @property
    def width(self) -> str:
        """The bit widths, for example W2A4."""
        return f"W{self['bits']['weight']}A{self['bits']['activation']}"

    @property
    def groupings(self) -> list[list[list[str]]]:
        """Its different choices of merged groups; more than one where seeds disagree."""
        found: list[list[list[str]]] = []
        for run in self.runs:
            if run["groups"] not in found:
                found.append(run["groups"])
        return found

    @property
    def pairs(self) -> list[int]:
        """Its different numbers of merged pairs, ascending."""
        return sorted({sum(len(group) - 1 for group in groups) for groups in self.groupings})

    def values(self, measure: str) -> list[float | None]:
        """Take a number of every seed.

        Args:
            measure: A key of `MEASURES`.

        Returns:
            The numbers by seed; None where there is none.
        """
        return [MEASURES[measure](run) for run in self.runs]

    def mean(self, measure: str) -> float | None:
        """Take the mean over the seeds.

        Args:
            measure: A key of `MEASURES`.

        Returns:
            The mean; None where a seed lacks the number.
        """
        return mean(self.values(measure))

    def curve(self, key: str) -> list[float | None]:
        """Take the mean over the seeds along the units.

        Args:
            key: ``errors`` or ``losses``.

        Returns:
            One number a unit; None where a seed lacks it.
        """
        return [mean(values) for values in zip(*(run[key] for run in self.runs), strict=True)]


@dataclass(frozen=True, kw_only=True)
class Results:
    """One file.

    Attributes:
        name: The file's name without its suffix.
        shared: What all runs have in common: settings, environment.
        units: Names of the base units of most runs, in network order.
        configurations: In table order.
    """

    name: str
    shared: Record
    units: tuple[str, ...]
    configurations: tuple[Configuration, ...]

    @property
    def runs(self) -> list[Record]:
        """All runs."""
        return [run for configuration in self.configurations for run in configuration.runs]


def read(file: Path) -> Results:
    """Read one file of docs/results.

    Args:
        file: The path.

    Returns:
        Its runs, each with what they share put back.

    Raises:
        DataError: The file is missing, or is not what `collect` writes.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return gather(file.stem, content)
    except FileNotFoundError:
        raise DataError(f"{file}: missing; make it with make_results.py collect {file.stem} ...") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: not what make_results.py collect writes ({error!r})") from error


def gather(name: str, content: Content) -> Results:
    """Put runs of one configuration together.

    Args:
        name: Name of the file.
        content: What `results.collect.collect` gave.

    Returns:
        The configurations in table order.
    """
    shared = {"settings": {}, "environment": {}} | content["shared"]
    units = shared.pop("units")
    found: dict[str, list[Record]] = {}
    for stored in content["runs"]:
        run = {**EMPTY, "units": units, **stored}
        for section, values in shared.items():
            run[section] = values | run[section]
        found.setdefault(identity(run), []).append(run)
    configurations = [Configuration(tuple(sorted(runs, key=lambda r: r["seed"]))) for runs in found.values()]
    configurations.sort(key=lambda configuration: order(configuration.runs[0]))
    return Results(name=name, shared=shared, units=tuple(units), configurations=tuple(configurations))


def identity(run: Record) -> str:
    """Say what a run is besides its seed.

    Args:
        run: A record.

    Returns:
        A text that is the same for runs that differ in their seed alone.
    """
    keys = ("method", "options", "bits", "granularity", "planner", "settings")
    given = run["groups"] if run["granularity"] == "fixed" else []
    return json.dumps([*(run[key] for key in keys), given], sort_keys=True)


def order(run: Record) -> tuple[Any, ...]:
    """Say where a run stands in every table and file.

    Args:
        run: A record.

    Returns:
        A key: by bits from the widest, by method, granularity, planner, number of merges, and the rest.
    """
    planner = run["planner"]
    count = planner.get("merge_count", 0)
    return (
        -run["bits"]["weight"],
        -run["bits"]["activation"],
        _natural(run["bits"]),
        _rank(METHODS, run["method"]),
        _rank(GRANULARITIES, run["granularity"]),
        _rank(PLANNERS, planner.get("name", "")),
        (1, 0) if count == "auto" else (0, count),
        _natural(run["options"]),
        _natural(run["settings"]),
        identity(run),
    )


def varying(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the keys on which mappings do not agree.

    Args:
        parts: The mappings; a key that one lacks has the value None there.

    Returns:
        The keys, sorted.
    """
    known = list(parts)
    keys = sorted({key for part in known for key in part})
    return [key for key in keys if any(part.get(key) != known[0].get(key) for part in known)]


def mean(values: Sequence[float | None]) -> float | None:
    """Take a mean that does not hide what is missing.

    Args:
        values: Numbers.

    Returns:
        The mean; None where one is missing, or there are none.
    """
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _natural(values: Record) -> tuple[Any, ...]:
    """Sort key that counts, steps first: 800 before 5,000; what differs least from the defaults leads."""
    numbers = {key: float(value) if isinstance(value, int | float) else 0.0 for key, value in values.items()}
    keys = sorted(values, key=lambda key: (key != "trainer.steps", key))
    return len(keys), [(key, numbers[key], str(values[key])) for key in keys]


def _rank(names: Sequence[str], name: str) -> tuple[int, str]:
    return (names.index(name), "") if name in names else (len(names), name)
