"""The verb ``report``: a table on the terminal and one HTML page over any set of run folders."""

import gc
from collections.abc import Sequence
from pathlib import Path

from mrecg.progress import results_console
from mrecg.verbs.words import Words


def main(arguments: Sequence[str]) -> None:
    """Run the verb.

    Args:
        arguments: Run folders, or folders that hold some; ``-o FILE``, ``--picture FILE``,
            ``--figures DIR``, ``--all``.
    """
    parser = Words(
        prog="mrecg report", description="One self-contained HTML page over a set of runs."
    )
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
    parsed = parser.parse_args(arguments)
    out = parsed.out or parsed.folders[0] / "report.html"
    compare(parsed.folders, out, picture=parsed.picture, figures=parsed.figures, every=parsed.all)


def compare(
    folders: Sequence[Path],
    out: Path,
    *,
    picture: Path | None = None,
    figures: Path | None = None,
    every: bool = False,
) -> None:
    """Print the table of the runs in some folders, and write the page and the figures.

    Args:
        folders: Run folders, or folders that hold some.
        out: The page.
        picture: A picture of the error along the units, if wanted.
        figures: A folder for the figures for papers, if wanted.
        every: Whether to print all runs, however many.
    """
    from mrecg.report import find_runs, oscillation_figure, terminal_table
    from mrecg.report.gather import left_out, load_runs
    from mrecg.report.page import write_page
    from mrecg.report.paper import paper_figures
    from mrecg.report.reader import Reader

    found = find_runs(folders)
    console = results_console()
    # Thousands of runs are millions of objects, none in a cycle: collecting takes a fifth of the time.
    gc.set_threshold(100_000, 50, 50)
    with Reader(folders, found) as read:
        runs = load_runs(found, read=read)
        console.print(terminal_table(runs, every=every))
        # Before the page, so that a folder that cannot be written to costs no more time than it must.
        drawn = paper_figures(runs, figures) if figures is not None else []
        written = write_page(runs, folders, out, read=read)
    if said := left_out(runs):
        console.print(said, highlight=False)
    console.print(f"report: {written}", soft_wrap=True, highlight=False)
    if picture is not None:
        console.print(f"picture: {oscillation_figure(runs, picture)}", soft_wrap=True, highlight=False)
    for path in drawn:
        console.print(f"figure: {path}", soft_wrap=True, highlight=False, markup=False)
