"""Markdown from types and docstrings, for docs/make_reference.py."""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import cleandoc, getsource
from itertools import pairwise
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mrecg.config.fields import OneOf, about
from mrecg.errors import DataError


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells))


def code(text: str) -> str:
    """Write a block of text as it is typed."""
    return f"```text\n{cleandoc(text).strip()}\n```"


def sentence(text: str, of: str) -> str:
    r"""Write a docstring or help text as Markdown.

    Args:
        text: It; keys with values, such as ``trainer=fast``, become code.
        of: What it is about, for the message.

    Raises:
        DataError: There is no text.

    >>> sentence("steps per ``unit``, for trainer=fast [default]", "x")
    'Steps per `unit`, for `trainer=fast` \\[default\\].'
    """
    if not text.strip():
        raise DataError(f"{of}: has no text; write a docstring or help text beside it in the code")
    text = " ".join(text.replace("``", "`").split())
    coded = "".join(part if i % 2 else _KEY.sub(r"`\1`", part) for i, part in enumerate(_CODE.split(text)))
    text = "".join(part if i % 2 else _SIGN.sub(r"\\\1", part) for i, part in enumerate(_CODE.split(coded)))
    return text[0].upper() + text[1:] + ("" if text[-1] in ".:" else ".")


_CODE = re.compile(r"(`[^`]*`)")
_KEY = re.compile(r"(?<![\w`=/])((?:hydra/)?[a-z_]+(?:\.[a-z_]+)*=[\w./{}:*,\[\]]*[\w}*\]])")
_SIGN = re.compile(r"([*_<\[\]])")
_PLAIN = {
    type(None): "`null`",
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true`, `false`",
    Path: "path",
    Any: "any",
}


def takes(kind: Any) -> str:
    """Say what values a type has, with their range.

    >>> takes(Annotated[int, FieldInfo(annotation=int)] | None), takes(tuple[str, ...])
    ('whole number or `null`', 'list (text)')
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(map(takes, sorted(inner, key=lambda part: part is type(None))))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list ({', '.join(takes(part) for part in inner if part is not Ellipsis)})"
    return "mapping" if origin in (dict, Mapping) or is_dataclass(kind) else _PLAIN[kind]


def _annotated(kind: Any, marks: Sequence[Any]) -> str:
    for mark in marks:
        if isinstance(mark, OneOf):
            return ", ".join(f"`{name}`" for name in mark.names())
        if isinstance(mark, FieldInfo) and mark.description:
            return mark.description
    limits = [limit for mark in marks if isinstance(mark, FieldInfo) for limit in mark.metadata]
    return ", ".join(filter(None, [takes(kind), _within(limits)]))


def _within(limits: Iterable[Any]) -> str:
    """Write the range of a number."""
    shown = {}
    for limit in limits:
        for kind, name in ((Ge, "ge"), (Gt, "gt"), (Le, "le"), (Lt, "lt")):
            if isinstance(limit, kind):
                value = getattr(limit, name)
                shown[kind] = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    if Ge in shown and Le in shown:
        return f"{shown[Ge]} to {shown[Le]}"
    words = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}
    return ", ".join(f"{word} {shown[kind]}" for kind, word in words.items() if kind in shown)


def first(kind: type) -> str:
    """The first paragraph of a class's docstring."""
    return sentence(cleandoc(kind.__doc__ or "").split("\n\n")[0], kind.__name__)


def attributes(kind: type) -> dict[str, str]:
    """What the section Attributes of a class, or of its bases, says of each field."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        said = cleandoc(base.__doc__ or "") + "\n"
        text = re.search(r"^Attributes:\n((?:    .*\n|\n)*)", said, re.MULTILINE)
        parts = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", text[1] if text else "", re.MULTILINE)
        found = {**dict(parts), **found}
    return found


def stated(module: ModuleType) -> dict[str, str]:
    """Docstrings of a module's constants; one below two names is that of both."""
    found = {}
    for node, text in pairwise(ast.parse(getsource(module)).body):
        said = text.value if isinstance(text, ast.Expr) else None
        if isinstance(node, ast.Assign) and isinstance(said, ast.Constant):
            names = [name.id for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)]
            found |= dict.fromkeys(names, str(said.value))
    return found


def listed(texts: Mapping[str, str], head: str = "key") -> str:
    """A table of names with their meaning."""
    return table((head, "meaning"), [(f"`{name}`", sentence(text, name)) for name, text in texts.items()])


def described(kind: Any, names: Mapping[str, str]) -> str:
    """A table of the fields of a record.

    Args:
        kind: A dataclass or a pydantic model.
        names: Other names that fields have in the file.
    """
    types = {part.name: part.type for part in fields(kind)} if is_dataclass(kind) else {}
    if issubclass(kind, BaseModel):
        types = {name: field.annotation for name, field in kind.model_fields.items()}
    texts = attributes(kind)
    rows = [
        (
            f"`{names.get(name, name)}`",
            takes(typed),
            sentence(_null(texts.get(name) or about(kind, name)), f"{kind.__name__}.{name}"),
        )
        for name, typed in types.items()
    ]
    return table(("key", "type", "meaning"), rows)


def _null(text: str) -> str:
    """In a file None is null."""
    return re.sub(r"\bNone\b", "null", text)


def columns(kind: type, also: Mapping[str, str]) -> str:
    """A table of the columns of a CSV file, from the record of a row; what is None is an empty cell."""
    texts = attributes(kind)
    own = {part.name: re.sub(r"\bNone\b", "empty", texts[part.name]) for part in fields(kind)}
    return listed({**also, **own}, "column")
