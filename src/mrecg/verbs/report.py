"""The verb ``report``: a table on the terminal and one HTML page over any set of run folders."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mrecg.progress import results_console


def main(arguments: Sequence[str]) -> None:
    """Run the verb.

    Args:
        arguments: Run folders, or folders that hold some; ``--out FILE``, ``--picture FILE``.
    """
    parser = argparse.ArgumentParser(
        prog="mrecg report", description="One self-contained HTML page over a set of runs."
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders that hold some"
    )
    parser.add_argument("--out", type=Path, help="the page; default: report.html in the first DIR")
    parser.add_argument("--picture", type=Path, help="also draw the error along the units of all runs: a PNG")
    parsed = parser.parse_args(arguments)
    compare(parsed.folders, parsed.out or parsed.folders[0] / "report.html", picture=parsed.picture)


def compare(folders: Sequence[Path], out: Path, *, picture: Path | None = None) -> None:
    """Print the table of the runs in some folders, and write the page.

    Args:
        folders: Run folders, or folders that hold some.
        out: The page.
        picture: A PNG of the error along the units, if wanted.
    """
    from mrecg.report import find_runs, load_run, oscillation_figure, terminal_table, write_report

    found = find_runs(folders)
    console = results_console()
    runs = [load_run(path) for path in found]
    console.print(terminal_table(runs))
    written = write_report(found, out)
    console.print(f"report: {written}", soft_wrap=True, highlight=False)
    if picture is not None:
        console.print(f"picture: {oscillation_figure(runs, picture)}", soft_wrap=True, highlight=False)
