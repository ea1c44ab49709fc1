"""Names of classes, and labels of pictures from a CSV file."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mrecg.errors import DataError, one_of
from mrecg.system.checked_read import open_regular

COLUMNS = ("file", "label")
"""What a CSV file of labels must have; it may have more."""
LARGEST_LABEL = 2**31 - 1
"""No model has more outputs; beyond it the counting of the libraries below ends."""
_NUMBER = re.compile(r"[0-9]+")


def sub_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder; what begins with a dot is left out.

    Args:
        folder: Where to look.

    Returns:
        Their names, sorted by value where all are whole numbers and as text otherwise.

    Raises:
        DataError: Two of them are the same number.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not are_numbers(names):
        return names
    # Without the zeros before it: Python refuses to read numbers of thousands of digits.
    bare = {name: name.lstrip("0") for name in names}
    names = sorted(names, key=lambda name: (len(bare[name]), bare[name]))
    for one, other in pairwise(names):
        if bare[one] == bare[other]:
            raise DataError(
                f"{folder}: the folders {one} and {other} are the same number; rename one of them"
            )
    return names


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names of folders are whole numbers, all of them.

    Returns:
        Whether each is one; False where there is none.

    >>> are_numbers(["0", "11", "2"]), are_numbers(["0", "cat"])
    (True, False)
    """
    return bool(names) and all(map(_NUMBER.fullmatch, names))


def number_of(name: str, where: str) -> int:
    """Read a label.

    Args:
        name: Digits.
        where: For the message.

    Raises:
        DataError: It is larger than any model's number of outputs.
    """
    digits = name.lstrip("0") or "0"
    if len(digits) > len(str(LARGEST_LABEL)) or int(digits) > LARGEST_LABEL:
        shown = name if len(name) <= 30 else f"of {len(name):,} digits"
        raise DataError(f"{where} {shown} is out of range: no model has so many outputs")
    return int(digits)


def class_names(path: Path) -> list[str]:
    """Read the model's classes in order.

    Args:
        path: A folder, whose sub-folder names they are, see `sub_folders`; or a text file with a name a line,
            where blank lines do not count.

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


def read_table(path: Path, folder: Path, classes: Sequence[str] | None) -> tuple[dict[str, int], int | None]:
    """Read labels of pictures from a CSV file with the columns file and label.

    A label is the name of a class or, if it is no name, its index. Without ``classes`` all labels are
    indices, or all are names, which are then numbered as they sort.

    Args:
        folder: The files' names are paths below it.
        classes: The model's classes in order; None: not known.

    Returns:
        Label by file, with ``/`` in its name; and how many classes they are numbered by, None where each is
        a number itself.

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
        if not _is_file(folder / name):
            raise DataError(f"{where}: {row.file!r} is no file in data.evaluation_path={folder}")
        found[name] = row
    by_name = classes is None and not any(_NUMBER.fullmatch(row.label.lstrip("+-")) for row in rows)
    count = len(number) if by_name else None if classes is None else len(classes)
    return {name: number[row.label] for name, row in found.items()}, count


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def _numbering(rows: Sequence[_Row], classes: Sequence[str] | None, path: Path) -> dict[str, int]:
    """The number of each label that occurs."""
    names = {name: i for i, name in enumerate(classes or ())}
    first: dict[str, _Row] = {}
    for row in rows:
        first.setdefault(row.label, row)
    whole = {label for label in first if re.fullmatch(r"[+-]?[0-9]+", label)}
    if classes is None and not whole:
        names = {label: i for i, label in enumerate(sorted(first))}
    number: dict[str, int] = {}
    for label, row in first.items():
        where = f"data.labels_path: {path} line {row.line}: label"
        if label in names:
            # "1.0" would be numbered as text, after "0.0" and before "10.0".
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
        else:
            value = number_of(label.lstrip("+-"), where)
            if (label[0] == "-" and value) or (classes is not None and value >= len(classes)):
                choices = "0 or more" if classes is None else f"0 to {len(classes) - 1} or a class's name"
                raise DataError(f"{where} {label} is out of range; give {choices}")
            number[label] = value
    return number


def _rows(path: Path) -> Iterator[_Row]:
    records = _records(path)
    _, header = next(records, (0, []))
    columns = [name.strip() for name in header]
    if not set(COLUMNS) <= set(columns):
        found = ", ".join(columns)[:200] or "none"
        raise DataError(f"data.labels_path: {path} has the columns {found}; wants {', '.join(COLUMNS)}")
    twice = next((name for name in COLUMNS if columns.count(name) > 1), None)
    if twice is not None:
        count = columns.count(twice)
        raise DataError(f"data.labels_path: {path} has {count} columns {twice}; rename all but the right one")
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
        with open_regular(path) as stream:
            return stream.read().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{key}: {path} is no text file in UTF-8 ({error})") from error
    except OSError as error:
        raise DataError(f"{key}: {path} {error.strerror}") from error
