"""Typed errors: what was wrong, the value, the choices, what to do.

Every error that a user can cause is a `MrecgError`. The command line prints its message as one line and exits
with its ``exit_code``; the Python API raises it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MrecgError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_code = 1


class ConfigError(MrecgError):
    """An unknown key, a value of the wrong type or out of range, a name that is no choice."""

    exit_code = 2


class DataError(MrecgError):
    """Images or labels that are missing, empty or of the wrong shape."""

    exit_code = 2


class CheckpointError(MrecgError):
    """Weights or a saved run that cannot be loaded."""

    exit_code = 2


class GraphError(MrecgError):
    """A model that cannot be traced, or has no weight layer to quantize."""


class PlanError(MrecgError):
    """A schedule that does not cover every unit exactly once, or names what is no unit."""

    exit_code = 2


def one_of(
    what: str, value: object, choices: Iterable[object], *, error: type[MrecgError] = ConfigError
) -> MrecgError:
    """Build the error for a value that is not among its choices.

    Args:
        what: The key or thing that has the value.
        value: The value found.
        choices: All values that are right, in the order to print.
        error: The class of the error.

    Returns:
        The error, ready to raise.

    >>> str(one_of("method", "qdorp", ["rtn", "qdrop"]))
    "method: 'qdorp' is not a choice (did you mean 'qdrop'?); choose from rtn, qdrop"
    """
    names = [str(choice) for choice in choices]
    close = get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return error(f"{what}: {value!r} is not a choice{hint}; choose from {', '.join(names)}")
