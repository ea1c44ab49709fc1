"""Hydra's grammar: how values are written for it, and in which order a command line is."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from mrecg.errors import ConfigError

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
"""Keys of one folder, where a comma can only be part of its name."""
PATHS = (
    *FOLDERS,
    *("run", "path", "shared.folder", "cache.folder", "model.checkpoint"),
    *("data.calibration_path", "data.evaluation_path", "data.labels_path", "data.classes_path"),
)
"""Keys of paths: what Hydra's grammar does not take is the name as it stands."""

BY_PATTERN = ("bits.layers", "bits.activations")
"""Keys of mappings from patterns, which hold what Hydra's grammar does not take in the key of a mapping."""


def literal(text: str) -> str:
    """Write a text so that OmegaConf finds nothing to resolve in it.

    Args:
        text: Any text.

    Returns:
        What resolves to this text.
    """
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def hydra_quoted(path: Path | str) -> str:
    """Write a path as a value of Hydra's grammar, whatever its name holds.

    Returns:
        The value, in quotes.
    """
    return QuotedString(text=literal(str(path)), quote=Quote.single).with_quotes()


def parsed(arguments: Sequence[str]) -> Any:
    """Read Hydra's flags and the overrides, in whatever order they were typed.

    Args:
        arguments: What follows the verb.

    Returns:
        Hydra's namespace.

    Raises:
        ConfigError: There is no such flag, one lacks its value, or is not for this program.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # one line, like any other mistake
    found = parser.parse_intermixed_args(list(arguments))
    given = [f"--{flag}" for flag in ("run", "multirun", "cfg", "info") if getattr(found, flag)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: only one of them can be given; leave the others out")
    for flag in ("config_name", "config_path"):
        if getattr(found, flag) is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')}: {getattr(found, flag)} cannot take the place of mrecg's own "
                "configuration; for values of your own give --config-dir DIR and a file in it, for example "
                "DIR/experiment/mine.yaml as experiment=mine"
            )
    if found.config_dir is not None and not Path(found.config_dir).is_dir():
        raise ConfigError(f"--config-dir: {found.config_dir} is no folder; give one with groups of your own")
    return found


def in_order(arguments: Sequence[str], *own: str) -> list[str]:
    """Put Hydra's flags first and the overrides after them, ours last: Hydra takes them in one piece only.

    Args:
        arguments: What follows the verb.
        own: Overrides that are added.

    Returns:
        The command line for Hydra.
    """
    overrides = parsed(arguments).overrides
    flags = list(arguments)
    for word in reversed(overrides):  # the value of a flag comes before
        del flags[len(flags) - 1 - flags[::-1].index(word)]
    return [*flags, *map(_as_it_stands, overrides), *own]


def _as_it_stands(word: str) -> str:
    """Quote the name of a file or folder that was typed without Hydra's quotes, and needs them."""
    key, mark, value = word.partition("=")
    name = key.lstrip("+")
    if name in BY_PATTERN:
        return f"{key}{mark}{re.sub('[{][^{}]*[}]', _with_keys, value)}"
    if not mark or name not in PATHS:
        return word
    try:
        found = OverridesParser.create().parse_override(word)
    except HydraException:
        return f"{key}={hydra_quoted(value)}"
    whole = not found.is_sweep_override() and not isinstance(found.value(), list | dict)
    return word if whole or name not in FOLDERS else f"{key}={hydra_quoted(value)}"


def _with_keys(found: re.Match[str]) -> str:
    """Write a mapping so that Hydra takes its keys: without quotes, and with what it reads escaped."""
    entries = [entry.rpartition(":") for entry in found[0][1:-1].split(",")]
    keys = [re.sub(r"(?<!\\)[\[\]():=]", r"\\\g<0>", key.strip().strip("'\"")) for key, _, _ in entries]
    return (
        "{"
        + ", ".join(f"{key}{mark}{value}" for key, (_, mark, value) in zip(keys, entries, strict=True))
        + "}"
    )


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see mrecg VERB --help")
