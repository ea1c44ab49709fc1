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

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mrecg.config.fields import OneOf, about
from mrecg.config.schema import RunConfig
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
_GROUPS = "|".join(part.name for part in fields(RunConfig))
_KEY = re.compile(
    r"(?<![\w`=/.-])("
    r"(?:hydra/)?[a-z_]+(?:\.[a-z_]+)*=(?:\.\.\.|[\w./{}:*,\[\]]*[\w}*\]])"  # a key and its value
    rf"|(?:{_GROUPS}|hydra)\.[a-z_]+(?:\.[a-z_]+)*"  # a key
    r"|[\w.-]+\.(?:json|csv|yaml|html|png|svg|onnx|pt2|safetensors)\b"  # a file
    r"|(?:pip install '?)?mrecg\[[\w-]+\]'?"
    r"|mrecg (?:evaluate|plan|report)|wandb (?:sync|login)"
    r"|--?[a-z][a-z-]*|[a-zA-Z]+(?:_\w+)+|null"
    r")(?![\w`])"
)
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
    ('whole number, `null`', 'list of texts')
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin in (Union, UnionType):
        parts = sorted((part for part in inner if part is not int or float not in inner), key=_last)
        return ", ".join(map(takes, parts))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return (
            f"list of {_several(takes(inner[0]))}" if Ellipsis in inner else f"list of {len(inner)} numbers"
        )
    return "mapping" if origin in (dict, Mapping) or is_dataclass(kind) else _PLAIN[kind]


def _several(text: str) -> str:
    return re.sub(r"^(whole number|number|text|mapping|list)", r"\1s", text)


def _last(kind: Any) -> bool:
    return kind is type(None)


def _annotated(kind: Any, marks: Sequence[Any]) -> str:
    for mark in marks:
        if isinstance(mark, OneOf):
            return ", ".join(f"`{name}`" for name in mark.names())
        if isinstance(mark, FieldInfo) and mark.description:
            return mark.description
    limits = [limit for mark in marks if isinstance(mark, FieldInfo) for limit in mark.metadata]
    found = _within(limits, whole=kind is int)
    return f"{takes(kind)} ({found})" if found else takes(kind)


def _within(limits: Iterable[Any], *, whole: bool) -> str:
    """Write the range of a number."""
    of = {kind: getattr(limit, kind) for limit in limits for kind in _WORDS if hasattr(limit, kind)}
    shown = {kind: f"{value:,.0f}" if value == int(value) else f"{value:g}" for kind, value in of.items()}
    if "ge" in of and "le" in of:
        return f"{shown['ge']} to {shown['le']}"
    if "ge" in of and "lt" in of and whole:
        return f"{shown['ge']} to {of['lt'] - 1:,}"
    return ", ".join(f"{word} {shown[kind]}" for kind, word in _WORDS.items() if kind in shown)


_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


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
    """A table of names with their meaning; names with the same one share a row."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(sentence(text, name), []).append(f"`{name}`")
    return table((head, "meaning"), [(", ".join(own), text) for text, own in names.items()])


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
