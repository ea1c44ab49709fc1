"""The axes of a sweep: what several values are given for, on the command line or in a sweep's file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig, OmegaConf

from mrecg.config.schema import MERGING, RunConfig
from mrecg.config.validate import plain
from mrecg.errors import ConfigError
from mrecg.system.redaction import conceal

MOST_CONTROL_STEPS = 100
"""Factor of a control's steps, at most."""


def sweep_params(config: DictConfig) -> dict[str, str]:
    """Read the axes of a sweep file.

    Args:
        config: The composed tree with its hydra node.

    Returns:
        The values of each axis by key, as an override has them.

    Raises:
        ConfigError: An axis is a YAML list: Hydra would take it for one value.
    """
    params = OmegaConf.select(config, "hydra.sweeper.params")
    found: Any = {} if params is None else OmegaConf.to_container(params)
    for key, value in found.items():
        if isinstance(value, list | dict):
            several = ",".join(map(str, value))
            raise ConfigError(
                f"hydra.sweeper.params.{key}: a YAML list would be one value, not an axis; "
                f'write "{several}" (a list as a value goes into quotes, too)'
            )
    return {str(key): conceal(str(value)) for key, value in found.items()}


def control_steps(config: DictConfig) -> float | None:
    """Read with how many times the steps a grid repeats its block-wise jobs.

    Args:
        config: The composed tree with its hydra node.

    Returns:
        The factor; None: it repeats none.

    Raises:
        ConfigError: It is no number above 1, or the jobs are the trials of a search.
    """
    given: Any = OmegaConf.select(config, "hydra.sweeper.control_steps")
    if given is None:
        return None
    if searches(config):
        raise ConfigError(
            "hydra.sweeper.control_steps: a search compares its own trials and repeats none of them; "
            "add hydra.sweeper.control_steps=null"
        )
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 < given <= MOST_CONTROL_STEPS:
        raise ConfigError(
            f"hydra.sweeper.control_steps: {given!r} is not right: give a number above 1 and up to "
            f"{MOST_CONTROL_STEPS}, or null"
        )
    return float(given)


def controls(configs: Sequence[Mapping[str, Any]], factor: float | None) -> list[tuple[int, int]]:
    """Choose the block-wise jobs of a grid that are repeated with more steps.

    Args:
        configs: The configuration of each job, as plain values.
        factor: From `control_steps`.

    Returns:
        Of each job that differs from a merging one in nothing but the plan its place and the control's steps;
        of several that differ in a planner alone, which plans nothing for blocks, the first.
    """
    if factor is None:
        return []
    merging = [_but_for_the_plan(one) for one in configs if one["granularity"]["name"] in MERGING]
    found: list[tuple[int, int]] = []
    seen: list[dict[str, Any]] = []
    for i, config in enumerate(configs if merging else ()):
        own = _but_for_the_plan(config)
        if config["granularity"]["name"] == "block" and own in merging and own not in seen:
            seen.append(own)
            found.append((i, round(factor * config["trainer"]["steps"])))
    return found


def control_configs(config: DictConfig, configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Make the configurations of a grid's controls.

    Args:
        config: The composed tree with its hydra node.
        configs: Those of the grid's jobs.
    """
    factor = control_steps(config)
    found = controls([plain(one) for one in configs] if factor else [], factor)
    return [replace(configs[i], trainer=replace(configs[i].trainer, steps=steps)) for i, steps in found]


def _but_for_the_plan(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("granularity", "planner", "name")}


def searches(config: DictConfig) -> bool:
    """Tell whether a composed tree, with its hydra node, is that of a search.

    Raises:
        ConfigError: It is, and a grid was asked for.
    """
    found = str(OmegaConf.select(config, "hydra.sweeper._target_")).endswith(".SearchSweeper")
    if found and "hydra/sweeper=grid" in (OmegaConf.select(config, "hydra.overrides.hydra") or ()):
        raise ConfigError(
            "hydra/sweeper=grid: the sweep that is chosen is a search; leave one of the two out"
        )
    return found


def axes_of(
    overrides: Sequence[str], *, keep: bool = False, search: bool | None = None
) -> tuple[list[str], list[list[str]]]:
    """Separate plain overrides from those that sweep, these as lists of plain ones.

    A search chooses between the ends of an interval or a range, so that the ends stand for all values.

    Args:
        keep: Whether a plain one counts as an axis of one value.
        search: Whether they are those of a search; None: not known yet.

    Returns:
        The plain overrides; and of each axis one override a value.

    Raises:
        ConfigError: An interval is no axis of a grid.
    """
    fixed: list[str] = []
    axes: list[list[str]] = []
    loader = GlobalHydra.instance().config_loader()  # which knows what glob() can match
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        key, value = override.get_key_element(), override.value()
        if isinstance(value, IntervalSweep):
            if search is False:
                raise ConfigError(
                    f"{key}: an interval has no list of values; hydra/sweeper=search chooses from it"
                )
            axes.append([f"{key}={value.start}", f"{key}={value.end}"])
        elif override.is_sweep_override():
            values = list(override.sweep_string_iterator())
            if search and override.is_range_sweep() and len(values) > 2:
                values = [values[0], values[-1]]
            axes.append([f"{key}={value}" for value in values])
        elif keep:
            axes.append([override.input_line or ""])
        else:
            fixed.append(override.input_line or "")
    return fixed, axes
