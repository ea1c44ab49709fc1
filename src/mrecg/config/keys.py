"""The keys of the schema, and the nearest one to a word that is none."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.methods.registry import METHODS


def unknown_key(key: str, method: str | None = None) -> str:
    """Say that a key does not exist, with the nearest one and its siblings.

    Args:
        key: The dotted key that the user wrote.
        method: The method whose keys apply below ``method``.

    Returns:
        One line.
    """
    *path, last = key.split(".")
    while path and not keys_of(path, method) and path[-1] not in keys_of(path[:-1], method):
        last = path.pop()  # the first part that is wrong
    siblings = keys_of(path, method)
    close = get_close_matches(last, siblings, n=1)
    if path and not close:  # lr of lr_rounding
        close = [name for name in siblings if name.startswith(f"{last}_")][:1]
    prefix = "".join(f"{part}." for part in path)
    here = f"{prefix}{close[0]}" if close else None
    meant = here if path and here else _elsewhere(key, method) or here
    hint = f" (did you mean {meant}?)" if meant else ""
    where, what = ".".join(path) or "the top level", ", ".join(siblings) or "no keys"
    return f"{key}: unknown key{hint}; {where} has {what}"


def keys_of(path: list[str], method: str | None = None) -> list[str]:
    """List the keys of the schema below a path.

    Args:
        path: Names from the root, for example ``["bits"]``.
        method: The method whose keys apply below ``method``.

    Returns:
        The keys in the schema's order; empty where there is no such path.
    """
    kind: Any = RunConfig
    for part in path:
        if part == "method":
            kind = METHODS.get(method or "qdrop").settings
            continue
        found = {field.name: field.type for field in fields(kind)} if is_dataclass(kind) else {}
        kind = found.get(part)
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _elsewhere(key: str, method: str | None) -> str | None:
    """Find the key of another group that a word is near to: ``device``, ``weight_bits``."""
    found = {name: _parts(name) for name in _all_keys([], method)}
    last = key.rpartition(".")[2]
    if same := [name for name in found if name.rpartition(".")[2] == last]:
        return " or ".join(same)
    close = get_close_matches(_parts(key), list(found.values()), n=1, cutoff=0.8)
    return next((name for name, parts in found.items() if close and parts == close[0]), None)


def _parts(key: str) -> str:
    return " ".join(sorted(re.split(r"[._]", key)))


def _all_keys(path: list[str], method: str | None) -> Iterator[str]:
    for name in keys_of(path, method):
        if keys_of([*path, name], method):
            yield from _all_keys([*path, name], method)
        else:
            yield ".".join([*path, name])
