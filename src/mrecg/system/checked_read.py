"""Reading of our own files with checks of syntax, depth and version before they are trusted."""

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from mrecg.errors import DataError, MrecgError

SCHEMA = 1
"""The version of summary.json, sweep.json and search.json that this package writes and reads."""
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors of Python for content with unexpected types or values."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # twenty times as fast, where PyYAML has it
_DEEPEST = 64
"""Levels of nesting; ours have four. Recursion through more would be what stops Python."""


class NoFileError(OSError):
    """A path names a pipe, a device, a socket or a folder."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file of a folder that may come from elsewhere. A pipe or a device would keep us waiting.

    Args:
        path: The file; a link to one will do.

    Returns:
        The file, open for reading.

    Raises:
        NoFileError: Something else is there.
        OSError: It is missing or not readable.
    """
    _refuse_special(path.stat(), path)  # before it is opened: opening a device may already do something
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_special(os.fstat(handle), path)  # again, because it may have been replaced
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Read a file of a folder that may come from elsewhere.

    Args:
        limit: Bytes, at most; None: any number.

    Raises:
        OSError: It is missing, not readable, no regular file, or longer than that.
    """
    with open_regular(path) as stream:
        content = stream.read() if limit is None else stream.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"is longer than {limit:,} bytes", str(path))
    return content


def _refuse_special(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NoFileError(errno.EINVAL, "is no file", str(path))


class NoObjectError(ValueError):
    """A file's content is of another type than names with values."""


def json_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        content: A file's content.

    Raises:
        ValueError: It is no JSON, nested too deeply, or no object.
    """
    try:
        values = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise NoObjectError(f"holds a {type(values).__name__}, not an object")
    if _too_deep(values):
        raise ValueError("nested too deeply")
    return values


def yaml_mapping(content: bytes) -> dict[str, Any]:
    """Parse a YAML mapping of plain values. No object is ever made of it but these.

    Args:
        content: A file's content.

    Raises:
        ValueError: It is no YAML, nested too deeply, has aliases (by which a few lines become gigabytes), or
            holds no mapping with text as keys.
    """
    text = content.decode("utf-8")
    try:
        # By events first: they are flat, and building what they say may be neither finite nor small.
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("has a YAML alias, which none of these files needs")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ValueError("nested too deeply")
        values = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except DAMAGED as error:  # numbers and dates that only look like some
        raise ValueError(str(error)) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise NoObjectError("holds no mapping of names")
    return values


def refuse_newer(values: Mapping[str, Any], file: Path, *, error: type[MrecgError] = DataError) -> None:
    """Refuse what a later version of this package has written: its values may mean something else.

    Args:
        values: The content of summary.json, sweep.json or search.json; without a version it is an old one.
        file: For the message.
        error: The class of the error.

    Raises:
        MrecgError: The version is newer than `SCHEMA`, or none at all.
    """
    version = values.get("schema_version", SCHEMA)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise error(f"{file}: schema_version {version!r} is not right: requires {SCHEMA}; repeat the run")
    if version > SCHEMA:
        raise error(
            f"{file}: schema_version {version} was made by a newer version of mrecg, "
            f"this one reads {SCHEMA}; update it: pip install --upgrade mrecg"
        )


def _too_deep(values: Any) -> bool:
    """Return whether containers are nested deeper than in any file of ours; by levels, without recursion."""
    level = [values]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
