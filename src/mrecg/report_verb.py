"""The verb ``report``: a table on the terminal and one HTML page over any set of run folders."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mrecg.progress import results_console


def main(arguments: Sequence[str]) -> None:
    """Run the verb.

    Args:
        arguments: Run folders, or folders that hold some, and ``--out FILE``.
    """
    parser = argparse.ArgumentParser(
        prog="mrecg report", description="One self-contained HTML page over a set of runs."
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders that hold some"
    )
    parser.add_argument("--out", type=Path, help="the page; default: report.html in the first DIR")
    parsed = parser.parse_args(arguments)
    compare(parsed.folders, parsed.out or parsed.folders[0] / "report.html")


def compare(folders: Sequence[Path], out: Path) -> None:
    """Print the table of the runs in some folders, and write the page.

    Args:
        folders: Run folders, or folders that hold some.
        out: The page.
    """
    from mrecg.report import find_runs, load_run, terminal_table, write_report

    found = find_runs(folders)
    console = results_console()
    console.print(terminal_table([load_run(path) for path in found]))
    written = write_report(found, out)
    console.print(f"report: {written}", soft_wrap=True, highlight=False)
