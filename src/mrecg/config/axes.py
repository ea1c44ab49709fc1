"""The axes of a sweep: what several values are given for, on the command line or in a sweep's file."""

from collections.abc import Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig, OmegaConf

from mrecg.errors import ConfigError
from mrecg.system.redaction import conceal


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


def searches(config: DictConfig) -> bool:
    """Tell whether a composed tree, with its hydra node, is that of a search."""
    return str(OmegaConf.select(config, "hydra.sweeper._target_")).endswith(".SearchSweeper")


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
