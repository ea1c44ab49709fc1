"""The command ``dashboard``: a W&B workspace and report over a set of runs, at once or later."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mrecg.cli.words import Words
from mrecg.errors import ConfigError

DESCRIPTION = """\
A W&B workspace and a W&B report with the panels of mrecg report: oscillation, method comparison, merge count,
plan, loss curves of every unit. The specification is always written to a file; with an API key (wandb login)
it is also saved at W&B."""
EXAMPLES = """\
examples:
  mrecg dashboard outputs/2026-01-31/12-00-00-sweep --entity me
  mrecg dashboard outputs/2026-01-31 --offline -o specification.json
  mrecg dashboard --apply specification.json --entity me --project mrecg"""


def main(arguments: Sequence[str]) -> None:
    """Run the command.

    Args:
        arguments: Run folders, or folders that hold some; or ``--apply FILE``; and where to.

    Raises:
        MrecgError: Anything that a user can cause and mend.
    """
    parsed = parser().parse_args(arguments)
    if bool(parsed.folders) == bool(parsed.apply):
        raise ConfigError("dashboard: name run folders, or --apply FILE, and not both")
    if parsed.apply and (parsed.offline or parsed.out):
        raise ConfigError("dashboard: --apply FILE goes without --offline and --out")
    from mrecg.track.dashboard import apply
    from mrecg.track.wandb_logger import account

    if parsed.apply:
        specification = apply.read(parsed.apply)
    else:
        from mrecg.runs.layout import DASHBOARD
        from mrecg.track.dashboard import specification as panels
        from mrecg.track.dashboard.facts import gather

        facts = gather(parsed.folders)
        specification = panels.specification(
            facts, project=parsed.project or facts.project, entity=parsed.entity or facts.entity or ""
        )
        file = panels.write(specification, parsed.out or parsed.folders[0] / DASHBOARD)
        _say(f"dashboard of {facts.runs} runs: {file}")
        if parsed.offline or not account.has_key():
            entity, project = parsed.entity or facts.entity or "ENTITY", parsed.project or facts.project
            why = "" if parsed.offline else "W&B has no key here (wandb login). "
            _say(f"{why}To apply it: upload the runs (wandb sync RUN/wandb), then")
            _say(f"  mrecg dashboard --apply {file} --entity {entity} --project {project}")
            return
    applied = apply.apply(specification, entity=parsed.entity, project=parsed.project)
    _say(f"workspace: {applied.workspace}\nreport: {applied.report}")


def parser() -> Words:
    """The arguments of the command."""
    words = Words(
        prog="mrecg dashboard",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = words.add_argument
    add("folders", nargs="*", type=Path, metavar="DIR", help="run folders, or folders that hold some")
    add("--entity", help="W&B user or team; default: the runs' logger.entity, then that of your key")
    add("--project", help="W&B project; default: the runs' logger.project")
    add(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="default: dashboard.json in the first DIR",
    )
    add("--offline", action="store_true", help="only write the file")
    add("--apply", type=Path, metavar="FILE", help="save a dashboard that was written before")
    return words


def _say(text: str) -> None:
    from mrecg.track.terminal import results_console

    results_console().print(text, soft_wrap=True, highlight=False, markup=False)
