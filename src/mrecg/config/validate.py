"""The one place that validates: Hydra's tree in, a checked `RunConfig` or one clear line out."""

import sys
from collections.abc import Mapping
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mrecg.config.fields import stray_boolean
from mrecg.config.finishing import require_two
from mrecg.config.inputs import DataConfig
from mrecg.config.keys import keys_of, unknown_key
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError, one_of, short
from mrecg.methods.registry import METHODS, optimises
from mrecg.system.redaction import conceal

_ADAPTER = TypeAdapter(RunConfig)


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Check a nested mapping and turn it into the run's configuration.

    Args:
        values: Groups and their values, as Hydra composes them; what is absent takes the schema's default.

    Returns:
        The frozen configuration.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is out of range. The message is one
            line that names key, value and choices.

    >>> run_config({"bits": {"weight": 3}}).bits.weight
    3
    >>> run_config({"bits": {"weigth": 3}})
    Traceback (most recent call last):
    mrecg.errors.ConfigError: bits.weigth: unknown key (did you mean bits.weight?); ...
    """
    method = _method_of(values)
    found = stray_boolean(RunConfig, dict(values))
    if found is None and method is not None:
        found = stray_boolean(METHODS.get(method).settings, values["method"], "method")
    if found is not None:
        key, given = found
        raise ConfigError(f"{key}: {str(given).lower()} is not right: give a number, not true or false")
    try:
        return _ADAPTER.validate_python(conceal(dict(values)))
    except ValidationError as error:
        raise ConfigError(_explain(error, method)) from None


def _method_of(values: Mapping[str, Any]) -> str | None:
    """The method whose keys are given; None where there are none, or it is not known."""
    given = values.get("method")
    name = given.get("name") if isinstance(given, Mapping) else None
    return name if isinstance(name, str) and name in METHODS else None


GONE = {"planner": ("probe_cache",)}
"""Keys that earlier versions wrote into run folders, and that decide nothing."""


def saved_config(values: Mapping[str, Any]) -> RunConfig:
    """Check the configuration of a run folder, which may be older than this version.

    Args:
        values: The content of its config.yaml.

    Returns:
        The frozen configuration.

    Raises:
        ConfigError: As from `run_config`.
    """
    kept = {
        group: {key: value for key, value in found.items() if key not in GONE.get(group, ())}
        if isinstance(found, dict)
        else found
        for group, found in values.items()
    }
    try:
        return run_config(kept)
    except ConfigError as error:
        # Earlier versions took any names for W&B, and what a finished run was called there decides nothing.
        if not str(error).startswith("logger.") or "unknown key" in str(error):
            raise
        return run_config({group: found for group, found in kept.items() if group != "logger"})


def _explain(error: ValidationError, method: str | None) -> str:
    """Turn pydantic's first complaint into one line: key, value, what is right."""
    first = error.errors(include_url=False)[0]
    parts = [str(part) for part in first["loc"]]
    if parts and parts[-1].startswith(_ALTERNATIVE):
        return _explain_alternatives(error)
    key = ".".join(parts)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "unexpected_keyword_argument":
        return unknown_key(key, method) + more
    if first["type"] == "union_tag_not_found":
        return f"{key}.name: is missing; choose from {', '.join(METHODS.names())}{more}"
    if first["type"] in ("union_tag_invalid", "literal_error"):
        expected = first["ctx"].get("expected_tags") or first["ctx"].get("expected", "")
        choices = [part.strip().strip("'") for part in str(expected).replace(" or ", ", ").split(",")]
        value = first["ctx"]["tag"] if "tag" in first["ctx"] else first["input"]
        name = f"{key}.name" if first["type"] == "union_tag_invalid" else key
        return str(one_of(name, value, choices)) + more
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "too_short":
        message = f"needs at least {first['ctx']['min_length']}"
    if first["type"] == "value_error" and (not parts or keys_of(parts, method)):
        return f"{message}{more}"  # a rule across a group's fields names its keys itself
    lower = message if message.startswith("W&B") else f"{message[0].lower()}{message[1:]}"
    return f"{key}: {short(repr(first['input']), 200)} is not right: {lower}{more}"


_ALTERNATIVE = ("constrained-", "literal[")
"""How pydantic names the members of a union at the end of a location."""


def _explain_alternatives(error: ValidationError) -> str:
    """Say what a key takes that takes a number or a word; each alternative has a complaint of its own."""
    complaints = error.errors(include_url=False)
    key = ".".join(str(part) for part in complaints[0]["loc"][:-1])
    words = [c["ctx"]["expected"].replace("'", "") for c in complaints if c["type"] == "literal_error"]
    numbers = [c["msg"].removeprefix("Input should be ") for c in complaints if c["type"] != "literal_error"]
    numbers = [text if text.startswith("a ") else f"a number {text}" for text in numbers]
    wanted = ", or ".join([*numbers[:1], *words])
    return f"{key}: {complaints[0]['input']!r} is not right: wants {wanted}"


def plain(config: Any) -> dict[str, Any]:
    """Turn a configuration into plain values that YAML and JSON can hold.

    Args:
        config: A `RunConfig` or one of its groups.

    Returns:
        Nested dicts and lists; paths as strings.
    """
    dumped: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return dumped


def require_calibration(data: DataConfig) -> None:
    """Check that calibration images are named; evaluating alone does without them.

    Args:
        data: The data group.

    Raises:
        ConfigError: They are not.
    """
    if data.source == "image_folder" and data.calibration_path is None:
        raise ConfigError("data.calibration_path: needs a folder for data.source=image_folder")
    if data.source == "dataset" and data.calibration_dataset is None:
        raise ConfigError("data.calibration_dataset: needs package.module.name for data.source=dataset")


def require_batch(config: RunConfig, images: int) -> None:
    """Check that there are enough images for a step, which takes each of them once, and for finishing.

    Args:
        images: How many calibration images there are.

    Raises:
        ConfigError: There are too few.
    """
    if optimises(config.method) and config.trainer.batch_size > images:
        raise ConfigError(
            f"trainer.batch_size: {config.trainer.batch_size} is not right: a step takes each image once; "
            f"give at most data.calibration_images={images}"
        )
    require_two(config.finish, images)


def imported(path: str) -> Any:
    """Import what a dotted path names.

    Args:
        path: ``package.module.name``.

    Returns:
        The object.

    Raises:
        ConfigError: The path names nothing that can be imported.
    """
    module, _, name = path.rpartition(".")
    reach(path)
    try:
        return getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # a module's own code may raise anything
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{path}: cannot be imported ({reason}); give package.module.name") from error


def reach(path: str) -> None:
    """See to it that the package of an import path can be found, in the current folder where nowhere else.

    Nothing is imported, and what is installed comes first.

    Args:
        path: ``package.module.name``.

    Raises:
        ConfigError: It is no such path, or there is no such package.
    """
    *parts, name = path.split(".")
    if not parts or not all(part.isidentifier() for part in (*parts, name)):
        raise ConfigError(f"{path}: cannot be imported, it is no import path; give package.module.name")
    package = parts[0]
    if is_there(package):
        return
    here = str(Path.cwd())
    sys.path.append(here)
    invalidate_caches()
    if not is_there(package):
        sys.path.remove(here)
        raise ConfigError(
            f"{path}: cannot be imported: {package} is neither installed nor in the current folder; "
            "install it, or add the folder that holds it to PYTHONPATH"
        )


def is_there(package: str) -> bool:
    """Return whether a package can be found; nothing is imported."""
    try:
        if sys.modules.get(package, package) is None:
            return False
        return package in sys.modules or find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def existing(path: Path, key: str) -> Path:
    """Check that a configured path is there.

    Args:
        key: The config key that holds it, for the message.

    Returns:
        The same path.

    Raises:
        ConfigError: Nothing is there.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise ConfigError(f"{key}: {path} cannot be used ({error.strerror}); give another path") from error
    if not there:
        raise ConfigError(f"{key}: {path} does not exist")
    return path
