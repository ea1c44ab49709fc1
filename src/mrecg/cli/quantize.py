"""The commands that take Hydra's overrides: check first, then run, then compare the runs of a sweep."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mrecg.cli.resume import check_jobs, recorded, say_unshared, shell, stand_in, strange_store, unshared
from mrecg.cli.words import key_words
from mrecg.errors import Interrupted, MrecgError
from mrecg.system.redaction import conceal
from mrecg.system.variables import COMMAND, variable

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mrecg.config.consent import Consent
    from mrecg.config.schema import RunConfig
    from mrecg.runs.manifest import Job as Listed

_PASS_ON = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--resolve", "--package", "-p")
"""Flags by which Hydra prints something instead of running."""


def run(verb: str, arguments: Sequence[str], *, consent: "Consent | None" = None) -> None:
    """Run a command.

    Args:
        verb: ``quantize``, ``plan`` or ``evaluate``.
        arguments: Overrides and Hydra's own flags.
        consent: Whether what they ask for is allowed, where they come from a folder and were not typed.

    Raises:
        MrecgError: Anything that a user can cause and mend.
    """
    if any(word in ("-h", "--help") for word in arguments):
        from mrecg.cli.help import verb_help

        sys.stdout.write(verb_help(verb, arguments))
        return
    typed = conceal(list(arguments))  # from here on nothing but a download has the secrets of a URL
    arguments = key_words(typed, folder=verb == "evaluate")
    from mrecg.config import hydra_compose
    from mrecg.config.consent import Consent
    from mrecg.config.grammar import in_order
    from mrecg.runs.identity import refuse_differences
    from mrecg.system.streams import Patience

    before = recorded(arguments) if verb == "quantize" and consent is None else None
    words = in_order(arguments) if before is None else before.words
    values = None if before is None else before.values
    job = Job(verb, consent=consent)
    if any(word.split("=")[0] in _PASS_ON for word in words):
        hydra_compose.run(job, words, values)
        return
    checked = hydra_compose.check(words, values, progress=Patience("checking the jobs"))
    _check_images(verb, checked.configs)
    for config in checked.configs:
        if consent is not None:
            consent.to_run(config)
        _refuse_early(config)
    if before is not None:
        (config,) = checked.configs
        consent = Consent(str(before.folder), config.allow_import)
        consent.to_run(config, before.config)
        if config.resume != "never":
            refuse_differences(before.config, config, before.folder)
        if not consent.given and config.shared == before.config.shared and strange_store(config):
            say_unshared(before.folder, config)
            words = in_order(words, "shared.folder=null")
            checked = hydra_compose.check(words, values)
    with variable(COMMAND, shlex.join(["mrecg", verb, *typed])):
        if checked.folder is not None:
            _sweep(job, words, checked.folder, checked.configs)
            return
        assert checked.run is not None and checked.tree is not None
        _one(job, checked.tree, checked.run, checked.configs[0])


def run_recorded(words: Sequence[str], folder: Path, jobs: "Sequence[Listed]", consent: "Consent") -> None:
    """Run the jobs of a sweep whose configurations are recorded; nothing is composed for them.

    Args:
        words: What Hydra needs to launch them.
        consent: Whether the user trusts the sweep.

    Raises:
        MrecgError: Anything that a user can cause and mend.
    """
    from mrecg.runs.manifest import recorded_config

    configs = [recorded_config(listed, folder) for listed in jobs]
    check_jobs(folder, configs, consent)
    for config in configs:
        _refuse_early(config)
    with variable(COMMAND, shlex.join(["mrecg", "sweep", "resume", str(folder)])):
        job = Job("quantize", consent=consent, recorded=folder.absolute())
        _sweep(job, [*words, f"trainer.device={configs[0].trainer.device}"], folder, configs)


def _check_images(verb: str, configs: "Sequence[RunConfig]") -> None:
    """Refuse a command line that names no calibration images, unless it only evaluates."""
    from mrecg.config.validate import require_calibration

    for config in configs if verb != "evaluate" else ():
        require_calibration(config.data)


def _refuse_early(config: "RunConfig") -> None:
    """Refuse import paths without a package before anything heavy is imported."""
    from mrecg.config.consent import import_paths
    from mrecg.config.validate import reach

    for path in import_paths(config.model, config.data).values():
        reach(path)


def _one(job: "Job", tree: "DictConfig", folder: Path, config: "RunConfig") -> None:
    """Run one job in a folder that is kept from others before Hydra writes anything there."""
    from mrecg.config import hydra_compose
    from mrecg.runs.identity import refuse_other
    from mrecg.runs.lock import refuse_links, run_lock

    job.quiet = True
    with _named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        refuse_links(folder)
        with run_lock(folder), stand_in(folder) as place:
            if job.verb in ("quantize", "plan"):  # both write plan.json
                refuse_other(config, folder)
            hydra_compose.run_composed(job, tree, place)
    if job.failed is not None:
        raise job.failed


def _sweep(job: "Job", words: Sequence[str], folder: Path, configs: "Sequence[RunConfig]") -> None:
    """Run the jobs of a sweep, and compare them."""
    from mrecg.config import hydra_compose
    from mrecg.config.consent import takes_consent
    from mrecg.config.grammar import hydra_quoted, in_order
    from mrecg.runs.lock import refuse_links, sweep_lock

    refuse_links(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with sweep_lock(folder):
        try:
            # Absolute, because workers of some engines begin in folders of their own.
            with stand_in(folder.absolute()) as place:
                hydra_compose.run(job, in_order(words, f"hydra.sweep.dir={hydra_quoted(place)}"))
        except KeyboardInterrupt as error:
            again = " --allow-import" * any(takes_consent(config) for config in configs)
            raise Interrupted.by(error, go_on=f"mrecg sweep resume {shell(folder)}{again}") from error
        finally:
            _compare(folder)
        if job.verb == "quantize":
            try:
                _ended(folder)
            finally:
                _to_wandb(folder, configs[0])


@contextmanager
def _named(folder: Path | None) -> Iterator[None]:
    """Name the folder where Hydra cannot write what it keeps of a command line, or its log."""
    try:
        yield
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__  # logging wraps it in its own
        if not isinstance(cause, OSError) or cause.errno is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(cause.filename or folder)) from error


class Job:
    """The function of a command, imported only where it runs; launchers can send it to other processes.

    Args:
        consent: Whether what runs is allowed, where it comes from a folder.
        recorded: The sweep that has recorded each job's configuration; None: Hydra composes them.

    Attributes:
        quiet: Whether an error is kept instead of raised: Hydra would write lines of its own about it.
        failed: The error that was kept.
    """

    def __init__(self, verb: str, *, consent: "Consent | None" = None, recorded: Path | None = None) -> None:
        self.verb, self.consent, self.recorded = verb, consent, recorded
        self.__name__ = verb
        self.home = Path.cwd()
        self.quiet = False
        self.failed: Exception | None = None

    def __call__(self, tree: "DictConfig") -> None:
        """Run the command on Hydra's composed tree."""
        from mrecg.cli import jobs
        from mrecg.system.streams import forgiving_streams

        if self.home.is_dir():  # workers of some engines begin elsewhere; paths were given from here
            os.chdir(self.home)
        try:
            with forgiving_streams():  # a launcher's process has not done so
                if self.verb == "quantize":
                    jobs.quantize(tree, self._choose)
                else:
                    getattr(jobs, self.verb)(tree)
        except Exception as error:
            if not self.quiet:
                raise
            self.failed = error

    def _choose(self, composed: "RunConfig", folder: Path) -> "RunConfig":
        """Return the configuration of a job: composed by Hydra, or recorded by its sweep."""
        from mrecg.runs.manifest import read_config_of

        config = composed if self.recorded is None else read_config_of(self.recorded, folder)
        return unshared(config) if self.consent is not None and not self.consent.given else config


class SweepError(MrecgError):
    """Jobs of a sweep have failed."""


def _ended(folder: Path) -> None:
    """Say how the jobs of a sweep have ended.

    Raises:
        SweepError: Not all are done.
    """
    from mrecg.report.sweep_table import sweep_table
    from mrecg.runs.layout import COMPLETED, FAILED
    from mrecg.runs.manifest import read_jobs
    from mrecg.runs.sweep_status import read_sweep
    from mrecg.sweep.job_state import reason, state
    from mrecg.track.terminal import results_console

    jobs = [(job, state(folder / job.folder)) for job in read_jobs(folder)]
    if not jobs:  # another sweeper keeps no list of them, and has raised where one failed
        return
    failed = [job for job, ended in jobs if ended == FAILED]
    lost = [job for job, ended in jobs if ended not in (COMPLETED, FAILED)]
    if not failed and not lost:
        results_console().print(f"all {len(jobs)} jobs are done", highlight=False)
        return
    results_console().print(sweep_table(read_sweep(folder)), highlight=False)
    first = (failed or lost)[0]
    why = reason(folder / first.folder) or "its process was killed"
    parts = [f"{len(failed)} failed"] * bool(failed) + [f"{len(lost)} lost"] * bool(lost)
    raise SweepError(
        f"{' and '.join(parts)} of {len(jobs)} jobs (run {first.number}: {why}); "
        f"mrecg sweep status {shell(folder)} lists them, mrecg sweep resume runs them again"
    )


def _to_wandb(folder: Path, config: "RunConfig") -> None:
    """Log the sweep's comparison to W&B, and say how to send what is kept offline."""
    from mrecg.track.terminal import results_console
    from mrecg.track.trackers import commands, compare_sweep

    compare_sweep(config, folder)
    for line in commands(folder):
        results_console().print(line, soft_wrap=True, highlight=False, markup=False)


def _compare(folder: Path) -> None:
    """Print the table of a sweep and write its page, also where some of its runs have failed."""
    from mrecg.cli import report
    from mrecg.report.attempt import only_a_warning
    from mrecg.runs.layout import PAGE, SUMMARY

    if any(folder.rglob(SUMMARY)):
        with only_a_warning(folder):
            report.compare([folder], folder / PAGE)
