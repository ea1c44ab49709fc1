"""The command ``report``: a table on the terminal and one HTML page over any set of run folders."""

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mrecg.cli.words import Words, plain_words
from mrecg.errors import ConfigError, DataError, legible
from mrecg.runs.layout import PAGE
from mrecg.track.terminal import results_console

if TYPE_CHECKING:
    from mrecg.report.figures.choices import Columns
    from mrecg.runs.reader import Reader
    from mrecg.runs.records import Run

STDOUT = Path("-")
"""Where Markdown goes that was given no file."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to make of some runs.

    Attributes:
        page: The HTML page; None for none.
        named: Whether the user has named this very file; only then a link is written through.
        picture: A picture of the error along the units.
        figures: A folder for the figures for papers.
        numbers: A JSON file with the numbers of the runs.
        markdown: A file for the comparison as Markdown; `STDOUT`: it is printed instead of the table.
        every: Whether to print all runs, however many.
        width: Of the figures and the picture: "one" column or "two"; None: each has what it needs.
        labels: Other names in them, as ``OLD=NEW``.
    """

    page: Path | None = None
    named: bool = False
    picture: Path | None = None
    figures: Path | None = None
    numbers: Path | None = None
    markdown: Path | None = None
    every: bool = False
    width: "Columns | None" = None
    labels: tuple[str, ...] = ()


def main(arguments: Sequence[str]) -> None:
    """Run the command.

    Args:
        arguments: Run folders, folders that hold some, or JSON files of this command; ``-o FILE``,
            ``--picture FILE``, ``--figures DIR``, ``--width one|two``, ``--label OLD=NEW``, ``--json FILE``,
            ``--markdown [FILE]``, ``--all``.
    """
    parsed = parser().parse_args(plain_words(arguments))
    if parsed.markdown not in (None, STDOUT) and parsed.markdown.suffix != ".md":
        raise ConfigError(
            f"report: --markdown {legible(str(parsed.markdown))}: FILE must end in .md; name the runs before "
            "--markdown, which prints where no FILE is given"
        )
    for option, given in (("--width", parsed.width), ("--label", parsed.label)):
        if given and not (parsed.figures or parsed.picture):
            raise ConfigError(f"report: {option} is for figures: add --figures DIR or --picture FILE")
    folder = next((path for path in parsed.runs if not _is_file(path)), None)
    usual = folder is not None and parsed.json is None and parsed.markdown is None
    make(
        parsed.runs,
        Wanted(
            page=parsed.out or (folder / PAGE if usual and folder else None),
            named=parsed.out is not None,
            picture=parsed.picture,
            figures=parsed.figures,
            numbers=parsed.json,
            markdown=parsed.markdown,
            every=parsed.all,
            width=parsed.width,
            labels=tuple(parsed.label),
        ),
    )


def parser() -> Words:
    """The arguments of the command."""
    words = Words(
        prog="mrecg report",
        description="Compare runs: a table, one self-contained HTML page, Markdown.",
    )
    add = words.add_argument
    runs = "run folders, folders that hold some, or files of --json"
    add("runs", nargs="+", type=Path, metavar="DIR", help=runs)
    page = "the page; default: report.html in the first DIR, and none with --json or --markdown"
    add("-o", "--out", type=Path, metavar="FILE", help=page)
    picture = "also draw the error along the units of all runs: .png, .svg or .pdf"
    add("--picture", type=Path, metavar="FILE", help=picture)
    figures = "also write figures for papers there: oscillation, ablation and plans as SVG, PDF and CSV"
    add("--figures", type=Path, metavar="DIR", help=figures)
    width = "width of the figures: one column of a paper (3.35 in) or two (7.0 in)"
    add("--width", choices=("one", "two"), help=width)
    label = "another name in the figures for a configuration, or for a part of its name; may be repeated"
    add("--label", action="append", default=[], metavar="OLD=NEW", help=label)
    numbers = "write the numbers of all runs, without paths of this machine; report reads such files, too"
    add("--json", type=Path, metavar="FILE", help=numbers)
    text = "write the comparison as Markdown, with the pictures that are drawn; without FILE print it"
    add("--markdown", type=Path, nargs="?", const=STDOUT, metavar="FILE", help=text)
    add("--all", action="store_true", help="print all runs, however many")
    return words


def compare(folders: Sequence[Path], out: Path, *, every: bool = False) -> None:
    """Print the table of the runs in some folders, and write the page.

    Args:
        folders: Run folders, or folders that hold some.
        every: Whether to print all runs, however many.

    Raises:
        DataError: See `make`.
    """
    make(folders, Wanted(page=out, every=every))


def make(paths: Sequence[Path], wanted: Wanted) -> None:
    """Print the table of some runs, and write what else is wanted.

    Args:
        paths: Run folders, folders that hold some, or files of ``--json``.

    Raises:
        ConfigError: The file for the numbers must not be written.
        DataError: There is no run, or all are broken. Of several, those that are broken are left out, with a
            line each; a file is refused as a whole.
    """
    from mrecg.report import terminal_table
    from mrecg.report.collection import check_target, described, read_collection
    from mrecg.report.gather import load_runs
    from mrecg.runs.find import find_runs
    from mrecg.runs.reader import Reader

    if wanted.numbers:
        check_target(wanted.numbers)
    files, folders = ([path for path in paths if _is_file(path) is file] for file in (True, False))
    kept = [run for file in files for run in read_collection(file)]
    found = find_runs(folders)
    # Thousands of runs are millions of objects, none in a cycle: collecting takes a fifth of the time.
    gc.set_threshold(100_000, 50, 50)
    broken: dict[Path, DataError] = {}
    lines: dict[str, Run] = {}
    page = ""
    with Reader(folders, found) as read:
        runs = [*load_runs(found, read=read, broken=broken), *kept]
        if wanted.numbers or files:
            lines = described(runs, read=read, broken=broken)
            runs = list(lines.values())
        if wanted.page:
            runs, page = _page(runs, paths, read=read, broken=broken)
    for told in broken.values():
        sys.stderr.write(f"mrecg: left out: {legible(' '.join(str(told).split()))}\n")
    # Markdown that is printed is all that is printed: it may go on to another program.
    console = None if wanted.markdown == STDOUT else results_console()
    if console:
        console.print(terminal_table(runs, every=wanted.every))
    for text in _written(runs, wanted, page=page, lines=lines):
        if console:
            console.print(text, soft_wrap=True, highlight=False, markup=False)


def _page(
    runs: "list[Run]", paths: Sequence[Path], *, read: "Reader", broken: dict[Path, DataError]
) -> "tuple[list[Run], str]":
    """The page, and the runs in it: other files than for a table may be broken, too."""
    from mrecg.report.page.write import page_of
    from mrecg.runs.load import BrokenRunsError

    try:
        return runs, page_of(runs, paths, read=read)
    except BrokenRunsError as error:
        broken |= error.broken
        left = [run for run in runs if run.path not in error.broken]
        if not left:
            raise
        return left, page_of(left, paths, read=read)


def _written(runs: "Sequence[Run]", wanted: Wanted, *, page: str, lines: Iterable[str]) -> Iterator[str]:
    """Write one file after the other, and say so."""
    from mrecg.report import oscillation_figure
    from mrecg.report.collection import write_collection
    from mrecg.report.figures.choices import Choices
    from mrecg.report.figures.write import paper_figures
    from mrecg.report.gather import left_out
    from mrecg.report.page.static import write_text

    picture = None
    # Before the page, which must not be written where the figures cannot be.
    choices = Choices(width=wanted.width, labels=wanted.labels)
    figures = paper_figures(runs, wanted.figures, choices) if wanted.figures else []
    if wanted.page:
        written = write_text(wanted.page, page, named=wanted.named)
        if said := left_out(runs):
            yield said
        yield f"report: {written}"
    if wanted.numbers:
        yield f"numbers: {write_collection(lines, wanted.numbers)}"
    if wanted.picture:
        place = wanted.picture.resolve() if wanted.picture.is_symlink() else wanted.picture
        picture = oscillation_figure(runs, place, choices)
        yield f"picture: {picture}"
    yield from (f"figure: {path}" for path in figures)
    if wanted.markdown:
        text = _markdown(runs, wanted.markdown, picture=picture, figures=figures)
        if wanted.markdown == STDOUT:
            sys.stdout.write(text)
        else:
            yield f"markdown: {write_text(wanted.markdown, text, named=True)}"


def _markdown(runs: "Sequence[Run]", file: Path, *, picture: Path | None, figures: Sequence[Path]) -> str:
    from mrecg.report.compare import panels
    from mrecg.report.figures.write import figures_by_panel
    from mrecg.report.markdown import markdown

    def address(path: Path) -> str:
        start = Path() if file == STDOUT else file.parent
        return quote(Path(os.path.relpath(path, start)).as_posix())

    by_panel = figures_by_panel(panels(runs), figures) | ({"": [picture]} if picture else {})
    return markdown(runs, pictures={title: list(map(address, own)) for title, own in by_panel.items()})


def _is_file(path: Path) -> bool:
    """Whether it is, or by its name would be, a file of ``--json`` and no folder."""
    return path.is_file() or (path.suffix == ".json" and not path.is_dir())
