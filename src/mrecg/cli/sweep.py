"""The command ``sweep``: show the state of a sweep, or resume it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mrecg.cli.words import Words, plain_words
from mrecg.track.terminal import results_console

EXIT = """\
exit code:
  0  every job is done, still running or has yet to start (the table says which)
  1  a job has failed or was interrupted
  2  there is no sweep in DIR"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: ``status DIR``, with ``--all`` or ``--json``; or ``resume DIR``.

    Raises:
        DataError: There is no sweep in the folder.
    """
    parsed = parser().parse_args(plain_words(arguments))
    if parsed.command == "resume":
        from mrecg.cli.sweep_resume import resume_sweep

        resume_sweep(parsed.folder, allow_import=parsed.allow_import, config_dir=parsed.config_dir)
        return 0
    from mrecg.report.sweep_table import sweep_table, sweep_values
    from mrecg.runs.sweep_status import FAILED, INTERRUPTED, read_sweep

    sweep = read_sweep(parsed.folder)
    if parsed.json:
        sys.stdout.write(json.dumps(sweep_values(sweep), indent=1) + "\n")
    else:
        results_console().print(sweep_table(sweep, every=parsed.all), highlight=False)
    counts = sweep.counts
    return 1 if counts[FAILED] + counts[INTERRUPTED] else 0


def parser() -> Words:
    """The arguments of the command."""
    words = Words(prog="mrecg sweep", description="Show the state of a sweep, or resume it.")
    commands = words.add_subparsers(dest="command", required=True, metavar="status|resume")
    status = commands.add_parser(
        "status",
        help="jobs that are done, failed, running, interrupted or missing, and what is left",
        description="Jobs that are done, failed, running, interrupted or missing, and what is left. "
        "Reads files only, and disturbs no running job.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("folder", type=Path, metavar="DIR", help="the folder of a sweep")
    status.add_argument("--all", action="store_true", help="list all jobs, however many")
    status.add_argument("--json", action="store_true", help="print all jobs as JSON")
    resume = commands.add_parser(
        "resume",
        help="run what is missing, was interrupted or has failed; what is done stays",
        description="Run what is missing, was interrupted or has failed; what is done stays. The sweep's own "
        "overrides are taken, from the folder where it was started.",
    )
    resume.add_argument("folder", type=Path, metavar="DIR", help="the folder of a sweep")
    resume.add_argument(
        "--allow-import",
        action="store_true",
        help="allow the imports of models and data sets, and the connections, that the sweep names",
    )
    resume.add_argument(
        "-cd",
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="a folder of configurations that it needs",
    )
    return words
