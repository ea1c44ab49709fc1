"""Names of classes, and labels of pictures from a CSV file."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrecg.errors import DataError, one_of

COLUMNS = ("file", "label")
"""What a CSV file of labels must have; it may have more."""


def sub_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted as text; what begins with a dot is left out.

    Args:
        folder: Where to look.

    Returns:
        Their names.
    """
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def class_names(path: Path) -> list[str]:
    """Read the model's classes in order.

    Args:
        path: A folder, whose sorted sub-folder names they are; or a text file with a name a line, where blank
            lines do not count.

    Returns:
        The names, each once.

    Raises:
        DataError: There is none, one is there twice, or the file is no text.
    """
    if path.is_dir():
        names = sub_folders(path)
        if not names:
            raise DataError(f"data.classes_path: {path} has no sub-folder")
        return names
    lines = {number: line.strip() for number, line in enumerate(_text(path, "data.classes_path"), start=1)}
    first: dict[str, int] = {}
    for number, name in lines.items():
        if name and name in first:
            raise DataError(
                f"data.classes_path: {path} line {number}: {name!r} is on line {first[name]}, too"
            )
        if name:
            first[name] = number
    if not first:
        raise DataError(f"data.classes_path: {path} has no names")
    return list(first)


@dataclass(frozen=True)
class _Row:
    line: int
    file: str
    label: str


def read_table(path: Path, folder: Path, classes: Sequence[str] | None) -> dict[str, int]:
    """Read labels of pictures from a CSV file with the columns file and label.

    A label is the name of a class or, if it is no name, its index. Without ``classes`` all labels are
    indices, or all are names, which are then numbered as they sort.

    Args:
        path: The CSV file.
        folder: The files' names are paths below it.
        classes: The model's classes in order; None: not known.

    Returns:
        Label by file, with ``/`` in its name.

    Raises:
        DataError: A column, a file or a label is missing or not right; the message names the line.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"data.labels_path: {path} has no lines below its header")
    number = _numbering(rows, classes, path)
    found: dict[str, _Row] = {}
    for row in rows:
        where = f"data.labels_path: {path} line {row.line}"
        name = Path(row.file).as_posix()
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{where}: {row.file!r} is not right: give a path below data.evaluation_path")
        if name in found:
            raise DataError(f"{where}: {row.file!r} is on line {found[name].line}, too")
        if not (folder / name).is_file():
            raise DataError(f"{where}: {row.file!r} is no file in data.evaluation_path={folder}")
        found[name] = row
    return {name: number[row.label] for name, row in found.items()}


_DIGITS = 18
"""Of an index, at most: as many as fit into the integers that labels become."""


def _numbering(rows: Sequence[_Row], classes: Sequence[str] | None, path: Path) -> dict[str, int]:
    """The number of each label that occurs."""
    names = {name: i for i, name in enumerate(classes or ())}
    first: dict[str, _Row] = {}
    for row in rows:
        first.setdefault(row.label, row)
    whole = {label for label in first if re.fullmatch(r"[+-]?\d+", label)}
    if classes is None and not whole:
        names = {label: i for i, label in enumerate(sorted(first))}
    number: dict[str, int] = {}
    for label, row in first.items():
        where = f"data.labels_path: {path} line {row.line}: label"
        if label in names:
            # "1.0" would be numbered as text, behind "0.0" and before "10.0".
            if classes is None and re.fullmatch(r"[+-]?\d*\.\d*(e[+-]?\d+)?", label):
                raise DataError(f"{where} {label!r} is no name and no index; write a whole number")
            number[label] = names[label]
        elif label not in whole:
            if classes is not None:
                raise one_of(where, label, classes, error=DataError)
            index = first[min(whole, key=lambda other: first[other].line)]
            raise DataError(
                f"{where} {label!r} is no index, and line {index.line} has the index {index.label}; "
                f"labels that are partly names need data.classes_path"
            )
        elif len(label) > _DIGITS or int(label) < 0 or (classes is not None and int(label) >= len(classes)):
            choices = "0 or more" if classes is None else f"0 to {len(classes) - 1} or a class's name"
            shown = label if len(label) <= _DIGITS else f"{label[:_DIGITS]}... ({len(label)} digits)"
            raise DataError(f"{where} {shown} is out of range; give {choices}")
        else:
            number[label] = int(label)
    return number


def _rows(path: Path) -> Iterator[_Row]:
    records = _records(path)
    _, header = next(records, (0, []))
    columns = [name.strip() for name in header]
    if not set(COLUMNS) <= set(columns):
        found = ", ".join(columns) or "none"
        raise DataError(f"data.labels_path: {path} has the columns {found}; wants {', '.join(COLUMNS)}")
    for line, cells in records:
        values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))  # a line may end early
        file, label = (values.get(name, "") for name in COLUMNS)
        if not file or not label:
            missing = "label" if file else "file"
            raise DataError(f"data.labels_path: {path} line {line}: has no {missing}")
        yield _Row(line, file, label)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not blank, each with the number of the line that it begins on."""
    reader = csv.reader(_text(path, "data.labels_path"), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is not closed is noticed at the end of the file; it stands where the line begins.
            raise DataError(f"data.labels_path: {path} line {line}: {error}") from error
        if cells:
            yield line, cells


def _text(path: Path, key: str) -> list[str]:
    """Lines of a file as editors count them; the mark that some programs put before UTF-8 is dropped."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise DataError(f"{key}: {path} is no text file in UTF-8 ({error})") from error
