"""Dicts, lists, tuples and dataclasses, taken apart by their names and made again."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol


class Maker(Protocol):
    """Makes a container of its parts."""

    @property
    def portable(self) -> bool:
        """Whether it needs no class of the user's, and can be written to a file."""

    def __call__(self, parts: dict[str, Any]) -> Any:
        """Make it."""


def parts_of(value: Any) -> Iterator[tuple[str, Any]] | None:
    """Names and parts of a container; None for what is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return ((str(key), part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return zip(getattr(value, "_fields", map(str, range(len(value)))), value, strict=True)
    return None


@dataclass(frozen=True)
class Node:
    """A container: what makes it of the dict of its parts, and the parts."""

    make: Maker
    parts: tuple[tuple[str, Any], ...]


def is_portable(tree: Any) -> bool:
    """Return whether nested containers are dicts with names, lists and tuples alone."""
    return not isinstance(tree, Node) or (
        tree.make.portable and all(is_portable(part) for _, part in tree.parts)
    )


@dataclass(frozen=True)
class Mapped:
    """Makes a mapping again, of its own class where an empty copy of it can be filled."""

    empty: Any
    keys: tuple[Any, ...]

    @property
    def portable(self) -> bool:
        """Whether it is a dict with names."""
        kind = type(self.empty)
        return kind in (type(None), OrderedDict) and all(isinstance(key, str) for key in self.keys)

    def __call__(self, parts: dict[str, Any]) -> Any:
        """Make it of its parts."""
        items = dict(zip(self.keys, parts.values(), strict=True))
        if self.empty is None:
            return items
        if type(self.empty) is OrderedDict:
            return OrderedDict(items)
        made = copy.copy(self.empty)
        made.update(items)
        return made


def emptied(value: Mapping[Any, Any]) -> Any:
    """An empty copy of a mapping with what else it has (a default factory); None where a dict will do."""
    if type(value) is dict:
        return None
    try:
        empty: Any = copy.copy(value)
        empty.clear()
    except Exception:  # a mapping that does not change: its class may raise anything
        return None
    return empty


@dataclass(frozen=True)
class Sequenced:
    """Makes a list, a tuple or a named tuple again."""

    kind: type

    @property
    def portable(self) -> bool:
        """Whether it is a list or a tuple."""
        return self.kind in (list, tuple)

    def __call__(self, parts: dict[str, Any]) -> Any:
        """Make it of its parts."""
        return self.kind(*parts.values()) if hasattr(self.kind, "_fields") else self.kind(parts.values())


@dataclass(frozen=True)
class Classed:
    """Makes a dataclass again."""

    kind: type
    given: tuple[str, ...]

    portable = False

    def __call__(self, parts: dict[str, Any]) -> Any:
        """Make it of its parts."""
        made = self.kind(**{name: parts[name] for name in self.given})
        for name in parts.keys() - set(self.given):
            object.__setattr__(made, name, parts[name])
        return made


def dataclass_maker(kind: Any) -> Classed:
    """Build what makes a dataclass, by its fields."""
    return Classed(kind, tuple(field.name for field in fields(kind) if field.init))
