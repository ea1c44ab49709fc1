"""Make the tables and pictures of docs/results.md from run folders.

``python docs/make_results.py collect NAME RUN_FOLDER...`` keeps the numbers of finished runs in
docs/results/NAME.json, in place of what was there. ``... write`` refreshes every block of docs/results.md
between ``<!-- results NAME: VIEW -->`` and ``<!-- end -->``, and its picture; ``... check`` says whether that
would change the page. Views: table, curves, merge_count, settings.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from results.collect import collect, dump
from results.pictures import PICTURES
from results.records import Results, read
from results.views import VIEWS

from mrecg.errors import DataError, MrecgError, one_of

DOCS = Path(__file__).parent
START = "<!-- results "
BEGIN = re.compile(START + r"(?P<name>[\w-]+): (?P<view>\w+) -->")
END = "<!-- end -->"
NAME = re.compile(r"[\w-]+")


def collected(name: str, folders: Sequence[Path], docs: Path = DOCS) -> Path:
    """Keep the numbers of runs.

    Args:
        name: Name of the file, without its suffix.
        folders: Finished run folders.
        docs: The folder of the documentation.

    Returns:
        The file.

    Raises:
        DataError: A run is not completed, or the runs do not belong together.
    """
    if not NAME.fullmatch(name):
        raise DataError(f"{name}: not a name of letters, digits, - and _")
    text = dump(collect(folders))
    file = docs / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def blocks(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Find the blocks of a page.

    Args:
        text: The page.

    Yields:
        Index of the line with the first marker and of that with the last, name of the file, name of the view.

    Raises:
        DataError: A marker is not right, a block has no end, or its view does not exist.
    """
    lines = text.split("\n")
    for first, line in enumerate(lines):
        if not line.startswith(START):
            continue
        found = BEGIN.fullmatch(line)
        if not found:
            raise DataError(f"results.md, line {first + 1}: wants {START}NAME: VIEW -->, not {line}")
        rest = [i for i in range(first + 1, len(lines)) if lines[i] == END or lines[i].startswith(START)]
        if not rest or lines[rest[0]] != END:
            raise DataError(f"results.md, line {first + 1}: no {END} behind {line}")
        if found["view"] not in VIEWS:
            raise one_of(f"results.md, line {first + 1}: view", found["view"], VIEWS, error=DataError)
        yield first, rest[0], found["name"], found["view"]


def page(text: str, docs: Path = DOCS) -> str:
    """Refresh the blocks of a page.

    Args:
        text: The page.
        docs: The folder of the documentation.

    Returns:
        The page with each block as its file in docs/results says.

    Raises:
        DataError: A file is missing, or a block cannot be made.
    """
    lines = text.split("\n")
    files: dict[str, Results] = {}
    for first, last, name, view in reversed(list(blocks(text))):
        if name not in files:
            files[name] = read(docs / "results" / f"{name}.json")
        lines[first + 1 : last] = ["", *VIEWS[view](files[name]).split("\n"), ""]
    return "\n".join(lines)


def write(docs: Path = DOCS) -> None:
    """Refresh the page and its pictures.

    Args:
        docs: The folder of the documentation.
    """
    file = docs / "results.md"
    text = file.read_text(encoding="utf-8")
    file.write_text(page(text, docs), encoding="utf-8")
    for _, _, name, view in blocks(text):
        if view in PICTURES:
            PICTURES[view](read(docs / "results" / f"{name}.json"), docs / "images" / f"{name}-{view}.png")


def check(docs: Path = DOCS) -> None:
    """Compare the page with its files; of pictures only whether they are there.

    Args:
        docs: The folder of the documentation.

    Raises:
        DataError: A block is not what `write` would make.
    """
    text = (docs / "results.md").read_text(encoding="utf-8")
    made = page(text, docs)
    now, then = text.split("\n"), made.split("\n")
    remedy = "run python docs/make_results.py write"
    for (first, last, name, view), (begin, end, _, _) in zip(blocks(text), blocks(made), strict=True):
        if now[first:last] != then[begin:end]:
            where = f"docs/results.md, line {first + 1}"
            raise DataError(f"{where}: {name}: {view} is not what docs/results/{name}.json says; {remedy}")
        if view in PICTURES and not (docs / "images" / f"{name}-{view}.png").is_file():
            raise DataError(f"docs/images/{name}-{view}.png: missing; {remedy}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a mistake is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of results.md (default: this one)")
    commands = parser.add_subparsers(dest="command", required=True)
    of_collect = commands.add_parser("collect", help="run folders to docs/results/NAME.json")
    of_collect.add_argument("name", metavar="NAME")
    of_collect.add_argument("folders", metavar="RUN_FOLDER", type=Path, nargs="+")
    commands.add_parser("write", help="refresh the blocks and pictures of docs/results.md")
    commands.add_parser("check", help="exit with 1 where a block is not up to date")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "collect":
            collected(chosen.name, chosen.folders, chosen.docs)
        else:
            {"write": write, "check": check}[chosen.command](chosen.docs)
    except MrecgError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
