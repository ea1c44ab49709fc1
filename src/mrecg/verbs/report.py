"""The verb ``report``: a table on the terminal and one HTML page over any set of run folders."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mrecg.progress import results_console


def main(arguments: Sequence[str]) -> None:
    """Run the verb.

    Args:
        arguments: Run folders, or folders that hold some; ``-o FILE``, ``--picture FILE``,
            ``--figures DIR``.
    """
    parser = argparse.ArgumentParser(
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
    parsed = parser.parse_args(arguments)
    out = parsed.out or parsed.folders[0] / "report.html"
    compare(parsed.folders, out, picture=parsed.picture, figures=parsed.figures)


def compare(
    folders: Sequence[Path], out: Path, *, picture: Path | None = None, figures: Path | None = None
) -> None:
    """Print the table of the runs in some folders, and write the page and the figures.

    Args:
        folders: Run folders, or folders that hold some.
        out: The page.
        picture: A picture of the error along the units, if wanted.
        figures: A folder for the figures for papers, if wanted.
    """
    from mrecg.report import find_runs, load_run, oscillation_figure, terminal_table, write_report
    from mrecg.report.paper import paper_figures

    found = find_runs(folders)
    console = results_console()
    runs = [load_run(path) for path in found]
    console.print(terminal_table(runs))
    # Before the page, so that a folder that cannot be written to costs no more time than it must.
    drawn = paper_figures(runs, figures) if figures is not None else []
    written = write_report(folders, out)
    console.print(f"report: {written}", soft_wrap=True, highlight=False)
    if picture is not None:
        console.print(f"picture: {oscillation_figure(runs, picture)}", soft_wrap=True, highlight=False)
    for path in drawn:
        console.print(f"figure: {path}", soft_wrap=True, highlight=False, markup=False)
