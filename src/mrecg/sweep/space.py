"""Search space: the axes in Hydra's grammar, as Optuna's distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from mrecg.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 4
"""Significant digits of a chosen number: more would only make labels long."""


@dataclass(frozen=True)
class Space:
    """The axes of a search and what stays as it is.

    Attributes:
        fixed: Overrides that every trial has.
        axes: The others, by key.
    """

    fixed: tuple[str, ...]
    axes: "Mapping[str, BaseDistribution]"

    def chosen(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Write what a trial has chosen as values of overrides.

        Args:
            params: Optuna's values by key.

        Returns:
            Texts by key, in the order of the axes.
        """
        return {key: _text(params[key], axis) for key, axis in self.axes.items() if key in params}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """List the overrides of a trial.

        Args:
            params: Optuna's values by key.

        Returns:
            What every trial has, then what this one has chosen.
        """
        return [*self.fixed, *(f"{key}={text}" for key, text in self.chosen(params).items())]


def read_space(overrides: Sequence[Override]) -> Space:
    """Tell axes from fixed values.

    Args:
        overrides: Those of the sweep file, then those of the command line; the last of a key counts.

    Raises:
        ConfigError: There is no axis, or Optuna cannot search one.
    """
    last = {override.get_key_element().lstrip("+"): override for override in overrides}
    axes: dict[str, BaseDistribution] = {}
    fixed = []
    for override in last.values():
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(override.input_line or "")
            continue
        try:
            axes[key] = _distribution(override)
        except ValueError as error:
            raise ConfigError(f"{key}: cannot be searched: {' '.join(str(error).split())}") from None
    if not axes:
        raise ConfigError(
            "hydra.sweeper.params: nothing to search; name an axis, for example "
            "'planner.merge_count=range(0,9)' or 'method.lr_rounding=tag(log,interval(1e-4,1e-2))'"
        )
    return Space(tuple(fixed), axes)


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None and high is not None
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    if isinstance(value, RangeSweep):
        every = sorted(value.range())
        if not every:
            raise ValueError("the range is empty")
        step = abs(value.step)
        if all(isinstance(one, int) for one in every):
            return IntDistribution(int(every[0]), int(every[-1]), log=log, step=int(step))
        return FloatDistribution(float(every[0]), float(every[-1]), log=log, step=float(step))
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _text(value: Any, axis: "BaseDistribution") -> str:
    from optuna.distributions import FloatDistribution

    if not isinstance(axis, FloatDistribution):
        return str(value)
    if axis.step is not None:
        return repr(float(f"{value:.10g}"))
    return repr(min(max(float(f"{value:.{DIGITS}g}"), axis.low), axis.high))
