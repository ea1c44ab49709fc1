"""Hydra's grid sweep, with jobs that stand for themselves: isolated, found again, tried again.

Hydra's own sweeper knows a job by its place and ends with the first failure that it sees. Here a job is known
by the hash of its configuration, so that a sweep can be run again, or grow, without repeating what is done;
and each job's folder says how it ended, even if the launcher failed.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mrecg.config.axes import controls, sweep_params
from mrecg.config.combine import Combiner
from mrecg.config.consent import Consent
from mrecg.config.hydra_compose import from_hydra
from mrecg.config.validate import plain
from mrecg.runs.identity import identity_of
from mrecg.runs.layout import MULTIRUN
from mrecg.runs.manifest import Job, Launch, number_jobs, read_jobs, write_jobs
from mrecg.sweep.launch import batch_of, fit, launch_all, launching, workers_of
from mrecg.system.atomic_write import write_durably
from mrecg.system.streams import Patience
from mrecg.system.variables import COMMAND, WORKERS, variable


class Grid(BasicSweeper):
    """All combinations of the axes.

    Attributes:
        name: What sweep.json calls it.

    Args:
        max_batch_size: Jobs handed to the launcher at a time; None: all.
        params: The axes, as in Hydra's own sweeper.
        retries: How often jobs whose process was killed are launched again.
        control_steps: Each block-wise job that differs from a merging one in nothing but the plan is run
            once more with so many times its steps, so that the two take about as long; None: none is.
    """

    name = "grid"

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: Mapping[str, str] | None = None,
        retries: int = 2,
        control_steps: float | None = None,
    ) -> None:
        # Not by super(): Hydra loads its plugins again when it looks for them, and a BasicSweeper that was
        # imported before then no longer is the class that its own __init__ names.
        self.overrides = None
        self.batch_index = 0
        self.max_batch_size, self.params = max_batch_size, dict(params or {})
        self.hydra_context, self.config, self.launcher = None, None, None
        self.retries, self.control_steps = retries, control_steps
        self.verb, self.recorded = "", False
        self.consent: Consent | None = None
        self.configs: dict[str, dict[str, Any]] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives, and make the launcher."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.verb = str(getattr(task_function, "verb", ""))
        self.recorded = getattr(task_function, "recorded", None) is not None
        self.consent = getattr(task_function, "consent", None)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs that are not done.

        Args:
            arguments: Overrides of the command line.

        Returns:
            Nothing that Hydra uses; each job's folder says how it ended.
        """
        if self.verb != "quantize":  # the others leave no folder that could say whether they are done
            return super().sweep(arguments)
        folder = self.begin()
        if self.recorded:
            jobs = [replace(job, overrides=()) for job in read_jobs(folder)]
        else:
            combined = self.combinations(arguments)
            jobs = self.enroll(folder, [*combined, *self.controls(combined)], arguments)
        self.run(folder, jobs)
        return []

    def begin(self) -> Path:
        """Make the sweep's folder.

        Returns:
            The folder, with the sweep's own configuration in it.
        """
        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        if not self.recorded:
            write_durably(folder / MULTIRUN, OmegaConf.to_yaml(self.config).encode())
        return folder

    def combinations(self, arguments: Sequence[str]) -> list[list[str]]:
        """List the overrides of every job.

        Args:
            arguments: Overrides of the command line; they replace axes of the sweep file.
        """
        assert self.config is not None and self.hydra_context is not None
        own = [f"{key}={value}" for key, value in sweep_params(self.config).items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (combined,) = self.split_arguments(parser.parse_overrides([*own, *arguments]), None)
        return combined

    def controls(self, combinations: Sequence[Sequence[str]]) -> list[list[str]]:
        """List the overrides of the controls: blocks with about as much time as what merges them.

        Args:
            combinations: Overrides of each job of the grid.
        """
        if self.control_steps is None:
            return []
        resolve = self.resolver()
        configs = [self.configs[resolve(overrides)[0]] for overrides in combinations]
        return [
            [*(w for w in combinations[i] if not w.startswith("trainer.steps=")), f"trainer.steps={steps}"]
            for i, steps in controls(configs, self.control_steps)
        ]

    def enroll(
        self, folder: Path, combinations: Sequence[Sequence[str]], arguments: Sequence[str]
    ) -> list[Job]:
        """Put jobs on the sweep's list; those that are on it already keep their folders.

        Args:
            combinations: Overrides of each job.
            arguments: Overrides of the command line.
        """
        assert self.config is not None
        known, tell, resolve = read_jobs(folder), Patience("listing the jobs"), self.resolver()
        wanted_jobs = []
        for overrides in combinations:
            wanted_jobs.append(resolve(overrides))
            tell(len(wanted_jobs), len(combinations))
        jobs = number_jobs(known, wanted_jobs)
        # A sweeper gets the other overrides only; Hydra's own (launcher, sweeper) are in the configuration.
        hydra = OmegaConf.select(self.config, "hydra.overrides.hydra") or []
        wanted = {job.identity: job for job in jobs}
        everyone = [wanted.pop(job.identity, job) for job in known] + list(wanted.values())
        write_jobs(
            folder,
            [replace(job, config=self.configs.get(job.identity, job.config)) for job in everyone],
            command=os.environ.get(COMMAND, ""),
            verb=self.verb,
            arguments=[w for w in map(str, (*arguments, *hydra)) if not w.startswith("hydra.sweep.dir=")],
            launch=Launch(
                sweeper=self.name, launcher=launching(self.config), config_dir=_config_dir(self.config)
            ),
        )
        return jobs

    def run(self, folder: Path, jobs: Sequence[Job]) -> None:
        """Launch jobs until each has ended.

        Args:
            jobs: The jobs; those that are done are left alone.
        """
        assert self.launcher is not None and self.config is not None
        self.fit()
        batch = self.max_batch_size or batch_of(self.launcher, cpu=self._cpu)
        with variable(WORKERS, str(workers_of(self.launcher, len(jobs), batch))):
            launch_all(self.launcher, jobs, folder, retries=self.retries, batch=batch)

    def fit(self) -> None:
        """Fill in what the launcher's preset leaves open."""
        fit(self.launcher, cpu=self._cpu)

    @property
    def _cpu(self) -> bool:
        """Return whether jobs stay on the CPU even if the machine has GPUs."""
        assert self.config is not None
        return bool(OmegaConf.select(self.config, "trainer.device") == "cpu")

    def resolver(self) -> Callable[[Sequence[str]], tuple[str, str, tuple[str, ...]]]:
        """Find out what composes jobs.

        Returns:
            A function of the overrides of a job, which gives its identity, name and overrides.
        """
        assert self.config is not None and self.hydra_context is not None
        loader, master = self.hydra_context.config_loader, self.config

        def tree_of(words: list[str]) -> DictConfig:
            tree = loader.load_sweep_config(master, words)
            return OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])

        combined = Combiner(tree_of)

        def resolve(overrides: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
            config = from_hydra(combined(overrides))
            if self.consent is not None:
                self.consent.to_run(config)
            identity = identity_of(config)
            self.configs[identity] = plain(config)
            return identity, config.name, tuple(overrides)

        return resolve


def _config_dir(config: DictConfig) -> str | None:
    """The folder of configurations that was named by --config-dir."""
    sources = OmegaConf.select(config, "hydra.runtime.config_sources") or []
    return next((str(one.path) for one in sources if one.provider == "command-line"), None)
