"""The settings that runs differ in, each with its value in every run: what a search or a grid was over."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import BitsConfig, CalibrationConfig
from mrecg.errors import ConfigError
from mrecg.methods.registry import METHODS
from mrecg.report.compare import merge_count
from mrecg.report.importance import Value
from mrecg.runs.records import Run

MOST_NAMES = 12
"""Values without an order of a setting, at most: paths and the like say nothing."""


def _merges(run: Run) -> int:
    """Pairs that were asked for; where the planner or the granularity decided, pairs that were merged."""
    asked = merge_count(run)
    return sum(len(group) - 1 for group in run.groups) if asked is None else asked


_OWN: Mapping[str, Callable[[Run], Any]] = {
    "bits.weight": lambda run: run.bits.weight or None,
    "bits.activation": lambda run: run.bits.activation or None,
    "bits.boundary": lambda run: run.boundary_bits,
    "bits.stem_output": lambda run: run.stem_output,
    "method": lambda run: run.method,
    "planner": lambda run: run.planner or None,
    "planner.merge_count": _merges,
    "trainer.steps": lambda run: run.steps,
    "trainer.steps_per": lambda run: run.steps_per,
    "trainer.batch_size": lambda run: run.batch_size or None,
    "data.calibration_images": lambda run: run.calibration_images or None,
    "precision": lambda run: run.precision,
}
"""Settings that a summary has a key for."""
_TITLES = {
    "bits.weight": "weight bits",
    "bits.activation": "activation bits",
    "bits.boundary": "boundary bits",
    "planner.merge_count": "merges",
    "data.calibration_images": "images",
}
_USUAL = {"trainer.lr_factor": 1.0, "cache.dtype": "float32", "rebasis": "none", "finish": "none"}
_SWITCHES = {"False": "off", "True": "on"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that varies.

    Attributes:
        key: As the command line has it.
        title: The same in short, unambiguous among the settings that are shown together.
        values: In each run; None where a run has no such setting.
        names: The values in their order, where they are no numbers.
        ordered: Whether the values have an order: numbers, or off and on.
    """

    key: str
    title: str
    values: tuple[Value, ...]
    names: tuple[str, ...] = ()
    ordered: bool = True


def varied(runs: Sequence[Run]) -> list[Setting]:
    """Find the settings in which runs differ; the seed is none.

    Args:
        runs: Completed runs.

    Returns:
        The settings: those of the method first, then in alphabetical order of their keys.
    """
    options = dict.fromkeys(key for run in runs for key in run.options if key not in _OWN)
    columns = {key: [get(run) for run in runs] for key, get in _OWN.items()}
    columns |= {key: [_option(run, key) for run in runs] for key in options}
    found = []
    for key in sorted(columns, key=lambda name: (not name.startswith("method"), name)):
        setting = _setting(key, columns[key])
        if setting is not None:
            found.append(setting)
    return _titled(found)


def _setting(key: str, values: Sequence[Any]) -> Setting | None:
    known = {str(value) for value in values if value is not None}
    if len(known) < 2:
        return None
    numbers = {text: _number(text) for text in known}
    if all(number is not None for number in numbers.values()):
        if len(set(numbers.values())) < 2:
            return None
        own = tuple(None if value is None else numbers[str(value)] for value in values)
        return Setting(key=key, title="", values=own)
    if len(known) > MOST_NAMES:
        return None
    switch = known <= set(_SWITCHES)
    said = {text: _SWITCHES[text] if switch else text for text in known}
    # Numbers come before names: 1, 5, auto.
    order = sorted(known, key=lambda text: (numbers[text] is None, numbers[text] or 0.0, text))
    return Setting(
        key=key,
        title="",
        values=tuple(None if value is None else said[str(value)] for value in values),
        names=tuple(said[text] for text in order),
        ordered=switch,
    )


def _titled(settings: Sequence[Setting]) -> list[Setting]:
    short = {one.key: _TITLES.get(one.key, one.key.rpartition(".")[2]) for one in settings}
    names = list(short.values())
    return [
        replace(one, title=short[one.key] if names.count(short[one.key]) == 1 else one.key)
        for one in settings
    ]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _option(run: Run, key: str) -> Any:
    """A value that is recorded only where it is not the default; None where the run has no such setting."""
    if key in run.options:
        return _plain(run.options[key])
    group, _, name = key.partition(".")
    if key in _USUAL:
        return _USUAL[key]
    if group in _USUAL:
        return None  # of a stage that is off
    return _plain(_defaults(run, group).get(name))


def _defaults(run: Run, group: str) -> Mapping[str, Any]:
    if group == "bits":
        return asdict(BitsConfig())
    if group == "calibration":
        return asdict(CalibrationConfig())
    try:
        if group == "planner" and run.granularity == "mixed":
            return asdict(PlannerConfig(name=run.planner))
        if group == "method":
            return asdict(METHODS.get(run.method).settings())
    except (ConfigError, ValueError):
        pass  # a run of elsewhere: its method or planner is not installed here
    return {}


def _plain(value: Any) -> Any:
    return None if value in (None, "None") else value
