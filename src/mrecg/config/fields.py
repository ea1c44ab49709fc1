"""What the schema says of a key besides its default: its closed set, and whether it is a number."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from inspect import getsource
from itertools import pairwise
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True)
class OneOf:
    """Marks a text as one of a closed set that is known only when it is asked for.

    Attributes:
        names: Gives the set.
    """

    names: Callable[[], tuple[str, ...]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text after its type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        names = self.names()
        if value not in names:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in names)})
        return value


def alternatives(kind: Any) -> Iterator[Any]:
    """Take a type apart.

    Args:
        kind: A type as in the schema.

    Yields:
        The types that a value may have, without their ranges.

    >>> list(alternatives(Annotated[int, "at least 1"] | None))
    [<class 'int'>, <class 'NoneType'>]
    """
    origin = get_origin(kind)
    if origin is Annotated:
        sets = [mark for mark in get_args(kind)[1:] if isinstance(mark, OneOf)]
        yield from [Literal[mark.names()] for mark in sets] or alternatives(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for part in get_args(kind):
            yield from alternatives(part)
    else:
        yield kind


def words(kind: Any) -> list[Any]:
    """List the values of a closed set.

    Args:
        kind: A type as in the schema.

    Returns:
        The words and numbers that it names, None and both booleans where they are among them; empty where
        it names none.

    >>> words(Literal["lp", "minmax"]), words(bool), words(Literal["auto"] | int)
    (['lp', 'minmax'], [False, True], ['auto'])
    """
    parts = list(alternatives(kind))
    found = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    found += [False, True] * (bool in parts)
    return [*found, *([None] * (type(None) in parts))] if found else []


def closed(kind: Any) -> bool:
    """Whether `words` are all that a key takes.

    Args:
        kind: A type as in the schema.

    Returns:
        Whether they are.
    """
    return all(get_origin(part) is Literal or part in (bool, type(None)) for part in alternatives(kind))


def about(kind: type, name: str) -> str:
    """Read the docstring of a field.

    Args:
        kind: A class with annotated fields.
        name: One of its fields, of its own or of a base class.

    Returns:
        The text in one line; empty where there is none.
    """
    texts = (_docstrings(base).get(name) for base in kind.__mro__)
    return " ".join(next(filter(None, texts), "").split())


@cache
def _docstrings(kind: type) -> dict[str, str]:
    """Docstrings of the fields that a class declares, read from its source: nothing but --help needs them."""
    try:
        (found,) = ast.parse(dedent(getsource(kind))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # a class without a file, for example of a notebook
        return {}
    return {
        field.target.id: text.value.value
        for field, text in pairwise(getattr(found, "body", ()))
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def stray_boolean(kind: Any, value: Any, key: str = "") -> tuple[str, bool] | None:
    """Find true or false where a number belongs: Python takes them for 1 and 0.

    Args:
        kind: A type as in the schema.
        value: What is to become one.
        key: The dotted key of the value.

    Returns:
        The key of the first one, and it; None where there is none.
    """
    parts = list(alternatives(kind))
    if isinstance(value, bool):
        number = any(part in (int, float) or get_origin(part) is Literal for part in parts)
        return (key, value) if number and bool not in parts else None
    for part in parts:
        for name, inner, held in _members(part, value):
            if (found := stray_boolean(inner, held, f"{key}.{name}".lstrip("."))) is not None:
                return found
    return None


def _members(kind: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and value of what is inside a value."""
    if is_dataclass(kind) and isinstance(value, dict):
        for field in fields(kind):
            if field.name in value:
                yield field.name, field.type, value[field.name]
    elif get_origin(kind) is tuple and isinstance(value, list | tuple):
        types = get_args(kind)
        for i, held in enumerate(value):
            yield str(i), types[0 if types[-1] is Ellipsis else min(i, len(types) - 1)], held
