"""The verbs that take Hydra's overrides: check first, then run, then compare what a sweep has done."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mrecg.errors import Interrupted, MrecgError
from mrecg.redaction import conceal
from mrecg.variables import COMMAND

if TYPE_CHECKING:
    from mrecg.config.consent import Consent
    from mrecg.config.schema import RunConfig

_PASS_ON = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--resolve", "--package", "-p")
"""Flags by which Hydra prints something instead of running."""


def run(verb: str, arguments: Sequence[str], *, consent: "Consent | None" = None) -> None:
    """Run a verb.

    Args:
        verb: ``quantize``, ``plan`` or ``evaluate``.
        arguments: Overrides and Hydra's own flags.
        consent: Whether code that they name may be imported, where they come from a folder and were not
            typed.

    Raises:
        MrecgError: Whatever a user can cause and mend.
    """
    if any(word in ("-h", "--help") for word in arguments):
        from mrecg.verbs.help import verb_help

        sys.stdout.write(verb_help(verb))
        return
    from mrecg.config import compose
    from mrecg.config.consent import names_code
    from mrecg.config.identity import refuse_other
    from mrecg.lock import sweep_lock
    from mrecg.streams import Patience

    arguments = conceal(list(arguments))  # from here on nothing but a download has the secrets of a URL
    job, typed = Job(verb), arguments
    arguments = _resumed(arguments) if verb == "quantize" else arguments
    if any(word.split("=")[0] in _PASS_ON for word in arguments):
        compose.run(job, arguments)
        return
    checked = compose.check(arguments, progress=Patience("checking the jobs"))
    _check_images(verb, checked.configs)
    if consent is not None:
        for config in checked.configs:
            consent.to(config.model, config.data)
    if verb == "quantize" and checked.run is not None:
        refuse_other(checked.configs[0], checked.run)  # before Hydra writes anything there

    # By the environment it also reaches jobs that a launcher runs in other processes.
    os.environ[COMMAND] = shlex.join(["mrecg", verb, *typed])
    try:
        if checked.folder is None:
            job.quiet = True
            with _named(checked.run):
                compose.run(job, arguments)
            if job.failed is not None:
                raise job.failed
            return
        checked.folder.mkdir(parents=True, exist_ok=True)
        # Absolute, because workers of some engines begin in folders of their own.
        folder = checked.folder.absolute()
        with sweep_lock(checked.folder):
            try:
                compose.run(job, [*arguments, f"hydra.sweep.dir='{folder}'"])
            except KeyboardInterrupt as error:
                again = " --allow-import" * any(names_code(config) for config in checked.configs)
                go_on = f"mrecg sweep resume {shlex.quote(str(checked.folder))}{again}"
                raise Interrupted.by(error, go_on=go_on) from error
            finally:
                _compare(checked.folder)
            if verb == "quantize":
                _ended(checked.folder)
    finally:
        del os.environ[COMMAND]


def _check_images(verb: str, configs: "Sequence[RunConfig]") -> None:
    """Refuse a command line that names no calibration images, unless it only evaluates."""
    from mrecg.config.build import require_calibration

    for config in configs if verb != "evaluate" else ():
        require_calibration(config.data)


@contextmanager
def _named(folder: Path | None) -> Iterator[None]:
    """Name the folder where Hydra cannot write what it keeps of a command line, or its log."""
    try:
        yield
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__  # logging hides it behind its own
        if not isinstance(cause, OSError) or cause.errno is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(cause.filename or folder)) from error


class Job:
    """The function of a verb, imported only where it runs; launchers can send it to other processes.

    Args:
        verb: Its name.

    Attributes:
        quiet: Whether an error is kept instead of raised: Hydra would write lines of its own about it.
        failed: The error that was kept.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.__name__ = verb
        self.home = Path.cwd()
        self.quiet = False
        self.failed: Exception | None = None

    def __call__(self, tree: object) -> None:
        """Run the verb on Hydra's composed tree."""
        from mrecg.streams import forgiving_streams
        from mrecg.verbs import jobs

        if self.home.is_dir():  # workers of some engines begin elsewhere; paths were given from here
            os.chdir(self.home)
        try:
            with forgiving_streams():  # in a launcher's process nobody has done so
                getattr(jobs, self.verb)(tree)
        except Exception as error:
            if not self.quiet:
                raise
            self.failed = error


def _resumed(arguments: Sequence[str]) -> list[str]:
    """Turn ``resume=FOLDER`` into the command line of that run, with what else was given behind it.

    Raises:
        ConfigError: It is no run folder.
    """
    named = [word for word in arguments if word.startswith("resume=") and word[7:] not in ("auto", "never")]
    if not named:
        return list(arguments)
    from mrecg.config.compose import saved_overrides
    from mrecg.config.consent import Consent
    from mrecg.config.identity import read_config

    folder = Path(named[-1][7:])
    rest = [word for word in arguments if not word.startswith("resume=")]
    saved, config = saved_overrides(folder), read_config(folder)
    consent = Consent(str(folder), "allow_import=true" in rest)
    consent.to_words(saved)
    consent.to(config.model, config.data)
    # Whatever sweep it belonged to, this is one run.
    return [*saved, *rest, f"hydra.run.dir='{folder}'", "hydra.mode=RUN"]


class SweepError(MrecgError):
    """Jobs of a sweep have failed."""


def _ended(folder: Path) -> None:
    """Say how the jobs of a sweep have ended.

    Raises:
        SweepError: Not all are done.
    """
    from mrecg.progress import results_console
    from mrecg.report.sweep_status import read_sweep
    from mrecg.report.sweep_table import sweep_table
    from mrecg.sweep.manifest import DONE, FAILED, read_jobs, reason, state

    jobs = [(job, state(folder / job.folder)) for job in read_jobs(folder)]
    failed = [job for job, ended in jobs if ended == FAILED]
    lost = [job for job, ended in jobs if ended not in (DONE, FAILED)]
    if not failed and not lost:
        results_console().print(f"all {len(jobs)} jobs are done", highlight=False)
        return
    results_console().print(sweep_table(read_sweep(folder)), highlight=False)
    first = (failed or lost)[0]
    why = reason(folder / first.folder) or "its process was killed"
    parts = [f"{len(failed)} failed"] * bool(failed) + [f"{len(lost)} lost"] * bool(lost)
    raise SweepError(
        f"{' and '.join(parts)} of {len(jobs)} jobs (run {first.number}: {why}); "
        f"mrecg sweep status {shlex.quote(str(folder))} lists them, mrecg sweep resume runs them again"
    )


def _compare(folder: Path) -> None:
    """Print the table of a sweep and write its page, also where some of its runs have failed."""
    from mrecg.report.attempt import only_a_warning
    from mrecg.verbs import report

    if any(folder.rglob("summary.json")):
        with only_a_warning(folder):
            report.compare([folder], folder / "report.html")
