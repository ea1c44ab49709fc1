"""A search by Optuna: its trials are jobs like those of a grid.

hydra-optuna-sweeper cannot be used: its last release takes Optuna 2 only. What is needed of it is small:
Optuna is asked for some trials and told how they ended. The rest is `Grid`: jobs that are isolated and found
again. Optuna's memory is a journal in the sweep's folder, which needs no SQLAlchemy.
"""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from mrecg.config.axes import sweep_params
from mrecg.errors import ConfigError, one_of
from mrecg.runs.layout import JOURNAL
from mrecg.runs.manifest import Job
from mrecg.sweep.front import Found, Objective, Record, measure, show
from mrecg.sweep.grid import Grid
from mrecg.sweep.launch import workers_of
from mrecg.sweep.space import Space, read_space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

log = logging.getLogger(__name__)
SAMPLERS = ("tpe", "nsga2", "random")
AGAIN = "again"
"""Attribute of a trial that repeats a failed one: the number of that."""
MANY = 8
"""Trials at a time where the launcher does not say how many it runs at once, as a cluster's."""


@dataclass(frozen=True)
class Asked:
    """A trial that Optuna has asked for and that has not been told yet."""

    number: int
    params: Mapping[str, Any]


class Search(Grid):
    """Trials that Optuna chooses.

    Args:
        params: The axes, in Hydra's grammar.
        maximize: Keys of summary.json of which more is better.
        minimize: Keys of which less is better.
        n_trials: Trials in all, with those of earlier processes on the same folder.
        batch: Trials that are chosen at a time; None: as many as the launcher runs at a time.
        sampler: ``tpe``, ``nsga2`` or ``random``.
        startup: Trials at random before tpe begins; with nsga2 the size of a generation.
        max_batch_size: Jobs handed to the launcher at a time; None: all of a batch.
        retries: How often jobs whose process was killed are launched again.
        control_steps: None; a search compares its own trials. A sweep file lays its values over a grid's.
    """

    name = "search"

    def __init__(
        self,
        *,
        params: Mapping[str, str] | None = None,
        maximize: Sequence[str] = (),
        minimize: Sequence[str] = (),
        n_trials: int = 20,
        batch: int | None = None,
        sampler: str = "tpe",
        startup: int = 8,
        seed: int = 0,
        max_batch_size: int | None = None,
        retries: int = 2,
        control_steps: float | None = None,
    ) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params, retries=retries)
        self.objectives = (
            *(Objective(str(key), True) for key in maximize),
            *(Objective(str(key), False) for key in minimize),
        )
        self.n_trials, self.batch = n_trials, batch
        self.sampler, self.startup, self.seed = sampler, startup, seed

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials until there are as many as asked for.

        Args:
            arguments: Overrides of the command line; they replace axes of the sweep file.

        Raises:
            ConfigError: An option is wrong, or the folder holds another search.
            MrecgError: Optuna is not installed.
        """
        self._check()
        space = self.space(arguments)
        folder = self.begin()
        study = self.study(folder)
        found = Found.read(folder, self.objectives)
        _try_failed_again(study)
        try:
            while asked := self.ask(study, space):
                jobs = self._enroll(folder, space, asked, arguments, found)
                self.run(folder, list({job.identity: job for job in jobs.values()}.values()))
                for number, job in jobs.items():
                    _tell(study, found.trials[number], job, folder, self.objectives)
                found.write(folder, self._about())
        finally:
            show(found, folder)
        return []

    def _check(self) -> None:
        """Refuse options that cannot be.

        Raises:
            ConfigError: One is wrong.
            MrecgError: Optuna is not installed.
        """
        if self.verb != "quantize":
            raise ConfigError(
                "hydra/sweeper: search works with mrecg quantize only; it reads each run's summary.json"
            )
        if self.sampler not in SAMPLERS:
            raise one_of("hydra.sweeper.sampler", self.sampler, SAMPLERS)
        if not self.objectives:
            raise ConfigError(
                "hydra.sweeper.maximize: name a key of summary.json, for example [quantized.top1]"
            )
        for key, value in (("n_trials", self.n_trials), ("batch", self.batch), ("startup", self.startup)):
            if value is not None and value < 1:
                raise ConfigError(f"hydra.sweeper.{key}: {value} is less than 1")
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                f"hydra/sweeper=search needs Optuna: pip install 'mrecg[optuna]' ({error})"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def space(self, arguments: Sequence[str]) -> Space:
        """Read the axes.

        Args:
            arguments: Overrides of the command line.

        Returns:
            The axes and what is fixed.
        """
        assert self.config is not None and self.hydra_context is not None
        own = [f"{key}={value}" for key, value in sweep_params(self.config).items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return read_space(parser.parse_overrides([*own, *arguments]))

    def study(self, folder: Path) -> "Study":
        """Open Optuna's memory of this search, or begin it.

        Raises:
            ConfigError: The folder's search has other objectives.
        """
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            study_name="search",
            directions=[one.direction for one in self.objectives],
            load_if_exists=True,
        )
        wanted = [f"{one.direction} {one.key}" for one in self.objectives]
        before = study.user_attrs.get("objectives", wanted)
        if before != wanted:
            raise ConfigError(
                f"hydra.sweeper.maximize: the search in {folder} optimises {', '.join(before)}; "
                "choose another hydra.sweep.dir for other objectives"
            )
        study.set_user_attr("objectives", wanted)
        return study

    def ask(self, study: "Study", space: Space) -> list[Asked]:
        """Choose the next trials: first those that an earlier process has left without a result.

        Each trial gets a new sampler, seeded with the trial's number, and batches begin at fixed numbers:
        an interrupted search continues as if it had not been.

        Args:
            space: The axes.

        Returns:
            The trials; empty where there are enough.

        Raises:
            ConfigError: The folder's search has other axes.
        """
        from optuna.trial import TrialState

        trials = study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
        begun = [trial for trial in trials if trial.state != TrialState.WAITING]
        asked = [Asked(t.number, t.params) for t in begun if t.state == TrialState.RUNNING and t.params]
        size = self.batch or self._at_a_time()
        room = -len(begun) % size or (0 if asked else size)
        left = self.n_trials - sum(trial.number not in repeated for trial in begun)
        for i in range(min(room, left)):
            study.sampler = self._sampler(len(begun) + i)
            try:
                trial = study.ask(dict(space.axes))
            except ValueError as error:
                raise ConfigError(
                    "hydra.sweeper.params: the search in this folder has other axes; choose another folder "
                    f"({' '.join(str(error).split())})"
                ) from error
            asked.append(Asked(trial.number, trial.params))
        return asked

    def _sampler(self, number: int) -> "BaseSampler":
        from optuna import samplers

        seed = (1_000_003 * self.seed + number) % 2**32
        if self.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.sampler == "nsga2":
            return samplers.NSGAIISampler(population_size=max(self.startup, 2), seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna 4 calls the liar experimental; 5 has it by default
            return samplers.TPESampler(n_startup_trials=self.startup, constant_liar=True, seed=seed)

    def _at_a_time(self) -> int:
        self.fit()  # it may be one per GPU
        kind = type(self.launcher).__name__
        if kind in ("BasicLauncher", "JoblibLauncher"):
            return workers_of(self.launcher, self.n_trials)
        return min(MANY, self.n_trials)

    def _enroll(
        self, folder: Path, space: Space, asked: Sequence[Asked], arguments: Sequence[str], found: Found
    ) -> dict[int, Job]:
        """Put trials on the sweep's list; the job of each by its number. Two may have one job."""
        combinations = [space.overrides(trial.params) for trial in asked]
        jobs = {job.identity: job for job in self.enroll(folder, combinations, arguments)}
        resolve = self.resolver()
        by_number = {
            trial.number: jobs[resolve(overrides)[0]]
            for trial, overrides in zip(asked, combinations, strict=True)
        }
        for trial in asked:
            params, place = space.chosen(trial.params), by_number[trial.number].folder
            found.trials[trial.number] = Record(number=trial.number, params=params, folder=place)
        found.write(folder, self._about())
        return by_number

    def _about(self) -> dict[str, Any]:
        return {"sampler": self.sampler, "seed": self.seed, "n_trials": self.n_trials}


def _try_failed_again(study: "Study") -> None:
    """Put failed trials back in the queue: the cause may have been removed since."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.number not in repeated and trial.params:
            study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})


def _tell(study: "Study", record: Record, job: Job, folder: Path, objectives: Sequence[Objective]) -> None:
    """Tell Optuna how a trial has ended."""
    from optuna.trial import TrialState

    record.values, record.error = measure(folder / job.folder, objectives)
    record.state = "failed" if record.values is None else "completed"
    if record.values is None:
        sys.stderr.write(f"mrecg: run {job.number} does not count in the search: {record.error}\n")
        study.tell(record.number, state=TrialState.FAIL)
    else:
        study.tell(record.number, record.values)
