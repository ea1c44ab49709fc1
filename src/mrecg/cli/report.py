"""The command ``report``: a table on the terminal and one HTML page over any set of run folders."""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from mrecg.cli.words import Words, plain_words
from mrecg.errors import DataError, legible
from mrecg.runs.layout import PAGE
from mrecg.track.terminal import results_console


def main(arguments: Sequence[str]) -> None:
    """Run the command.

    Args:
        arguments: Run folders, or folders that hold some; ``-o FILE``, ``--picture FILE``,
            ``--figures DIR``, ``--all``.
    """
    parser = Words(prog="mrecg report", description="One self-contained HTML page over a set of runs.")
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders that hold some"
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="the page; default: report.html in the first DIR"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw the error along the units of all runs: .png, .svg or .pdf",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="also write figures for papers there: oscillation, ablation and plans as SVG, PDF and CSV",
    )
    parser.add_argument("--all", action="store_true", help="print all runs, however many")
    parsed = parser.parse_args(plain_words(arguments))
    out = parsed.out or parsed.folders[0] / PAGE
    compare(
        parsed.folders,
        out,
        named=parsed.out is not None,
        picture=parsed.picture,
        figures=parsed.figures,
        every=parsed.all,
    )


def compare(
    folders: Sequence[Path],
    out: Path,
    *,
    named: bool = False,
    picture: Path | None = None,
    figures: Path | None = None,
    every: bool = False,
) -> None:
    """Print the table of the runs in some folders, and write the page and the figures.

    Args:
        folders: Run folders, or folders that hold some.
        named: Whether the user has named this very file; only then a link is written through.
        picture: A picture of the error along the units; None for none.
        figures: A folder for the figures for papers; None for none.
        every: Whether to print all runs, however many.

    Raises:
        DataError: There is no run, or all are broken. Of several, those that are broken are left out, with a
            line each.
    """
    from mrecg.report import find_runs, oscillation_figure, terminal_table
    from mrecg.report.figures.write import paper_figures
    from mrecg.report.gather import left_out, load_runs
    from mrecg.report.page.static import write_text
    from mrecg.report.page.write import page_of
    from mrecg.runs.load import BrokenRunsError
    from mrecg.runs.reader import Reader

    found = find_runs(folders)
    console = results_console()
    # Thousands of runs are millions of objects, none in a cycle: collecting takes a fifth of the time.
    gc.set_threshold(100_000, 50, 50)
    broken: dict[Path, DataError] = {}
    with Reader(folders, found) as read:
        runs = load_runs(found, read=read, broken=broken)
        try:
            page = page_of(runs, folders, read=read)
        except BrokenRunsError as error:  # of the files that only the page needs
            broken |= error.broken
            runs = [run for run in runs if run.path not in error.broken]
            if not runs:
                raise
            page = page_of(runs, folders, read=read)
        for told in broken.values():
            sys.stderr.write(f"mrecg: left out: {legible(' '.join(str(told).split()))}\n")
        console.print(terminal_table(runs, every=every))
        drawn = paper_figures(runs, figures) if figures is not None else []
        written = write_text(out, page, named=named)
    if said := left_out(runs):
        console.print(said, highlight=False)
    console.print(f"report: {written}", soft_wrap=True, highlight=False)
    if picture is not None:
        place = picture.resolve() if picture.is_symlink() else picture
        console.print(f"picture: {oscillation_figure(runs, place)}", soft_wrap=True, highlight=False)
    for path in drawn:
        console.print(f"figure: {path}", soft_wrap=True, highlight=False, markup=False)
