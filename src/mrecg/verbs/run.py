"""The verbs that take Hydra's overrides: check first, then run, then compare what a sweep has done."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_PASS_ON = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--resolve", "--package", "-p")
"""Flags by which Hydra prints something instead of running."""


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run a verb.

    Args:
        verb: ``quantize``, ``plan`` or ``evaluate``.
        arguments: Overrides and Hydra's own flags.

    Raises:
        MrecgError: Whatever a user can cause and mend.
    """
    if any(word in ("-h", "--help") for word in arguments):
        from mrecg.verbs.help import verb_help

        sys.stdout.write(verb_help(verb))
        return
    from mrecg.config import compose

    job = Job(verb)
    if any(word.split("=")[0] in _PASS_ON for word in arguments):
        compose.run(job, arguments)
        return
    checked = compose.check(arguments)
    from mrecg.environment import COMMAND  # loads torch, which a wrong override need not wait for

    # By the environment it also reaches jobs that a launcher runs in other processes.
    os.environ[COMMAND] = shlex.join(["mrecg", verb, *arguments])
    try:
        if checked.folder is None:
            compose.run(job, arguments)
            return
        try:
            compose.run(job, [*arguments, f"hydra.sweep.dir='{checked.folder}'"])
        finally:
            _compare(checked.folder)
    finally:
        del os.environ[COMMAND]


class Job:
    """The function of a verb, imported only where it runs; launchers can send it to other processes."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.__name__ = verb

    def __call__(self, tree: object) -> None:
        """Run the verb on Hydra's composed tree."""
        from mrecg.verbs import jobs

        getattr(jobs, self.verb)(tree)


def _compare(folder: Path) -> None:
    """Print the table of a sweep and write its page, also where some of its runs have failed."""
    from mrecg.verbs.report import compare

    if any(folder.rglob("summary.json")):
        compare([folder], folder / "report.html")
