"""Which run a configuration stands for, and in what two of them differ."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain, saved_config
from mrecg.errors import ConfigError
from mrecg.runs.layout import CHECKPOINT, COMPLETED, CONFIG, SUMMARY
from mrecg.system.checked_read import json_object, read_regular, yaml_mapping

_NO_MATTER = (
    *("name", "logger", "shared", "reuse", "resume", "checkpoint", "run", "path", "pictures", "allow_import"),
)
"""Groups of the configuration that do not make another run."""
_PLACE = ("device", "budget_mb", "folder")
"""Of the cache: where it lies, which changes no bit. A run that was out of memory may resume with less."""

_SINCE = ("layers", "activations", "exclude", "budget")
"""Keys of bits that 0.1.0 has not."""


def identity_of(config: RunConfig) -> str:
    """Hash what a run will do: its resolved configuration, without where its curves go.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(_decisive(config), sort_keys=True).encode()).hexdigest()[:16]


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Say in what two configurations stand for other runs.

    Args:
        old: One.

    Returns:
        For each key ``key: OLD there, NEW here``; empty for the same run.
    """
    before, after = _flat(_decisive(old)), _flat(_decisive(new))
    keys = list(dict.fromkeys([*before, *after]))
    return [
        f"{key}: {before.get(key, 'nothing')} there, {after.get(key, 'nothing')} here"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def refuse_other(config: RunConfig, folder: Path) -> None:
    """See to it that a run, interrupted or finished, is not lost to another one in its folder.

    Args:
        folder: The run folder that it is going to use; it need not be there.

    Raises:
        ConfigError: The folder is that of another run.
    """
    if config.resume == "never" or not (completed(folder) or (folder / CHECKPOINT).is_dir()):
        return
    try:
        old = read_config(folder)
    except ConfigError as error:
        what = f"{folder}: holds {_state(folder)} whose settings cannot be read"
        raise ConfigError(f"{what} ({error}); choose another folder, or {_lose(folder)}") from error
    refuse_differences(old, config, folder)


def refuse_differences(old: RunConfig, new: RunConfig, folder: Path) -> None:
    """Refuse to put another run in a run's folder.

    Args:
        old: What the folder says.
        new: What is going to be run.

    Raises:
        ConfigError: They stand for other runs; names the first difference.
    """
    if other := differences(old, new):
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        resumed = "" if completed(folder) else f"continue with it by resume={folder}, "
        raise ConfigError(
            f"{folder}: holds {_state(folder)} with other settings ({other[0]}){more}; {resumed}choose "
            f"another folder, or {_lose(folder)}"
        )


def completed(folder: Path) -> bool:
    """Return whether a folder holds the result of a run."""
    try:
        return json_object(read_regular(folder / SUMMARY)).get("status") == COMPLETED
    except (OSError, ValueError):
        return False


def _state(folder: Path) -> str:
    return "a finished run" if completed(folder) else "an interrupted run"


def _lose(folder: Path) -> str:
    return f'{"replace it" if completed(folder) else "give it up"} by resume=never (Python: resume="never")'


def read_config(folder: Path) -> RunConfig:
    """Read the configuration of a run folder.

    Raises:
        ConfigError: There is none, or none that can be read.
    """
    file = folder / CONFIG
    try:
        values = yaml_mapping(read_regular(file))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file}: cannot be read ({reason}); is {folder} a run folder?") from error
    try:
        return saved_config(values)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _decisive(config: RunConfig) -> dict[str, Any]:
    values = {key: value for key, value in plain(config).items() if key not in _NO_MATTER}
    for group in ("finish", "rebasis"):
        if values[group]["name"] == "none":
            del values[group]  # its other keys decide nothing then, and folders of before have no such group
    # What is left at its default decides nothing, and folders of before have no such keys.
    values["bits"] = {key: value for key, value in values["bits"].items() if key not in _SINCE or value}
    for key in ("layers", "activations"):
        if key in values["bits"]:
            values["bits"][key] = [[*one] for one in values["bits"][key].items()]  # their order counts
    if values["model"]["output"] is None:
        del values["model"]["output"]
    values["trainer"]["cuda_graphs"] = False  # decides no number; folders of before have False
    return {**values, "cache": {key: value for key, value in values["cache"].items() if key not in _PLACE}}


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
