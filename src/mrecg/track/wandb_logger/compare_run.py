"""The W&B run of a sweep as a whole: its runs compared, once, when the sweep has ended."""

import hashlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mrecg.config.outputs import LONGEST_NAME, LoggerConfig
from mrecg.errors import MrecgError
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.events import Silent
from mrecg.report import find_runs, load_run, oscillation_figure
from mrecg.runs.layout import WANDB
from mrecg.runs.metrics import named
from mrecg.runs.names import known_as
from mrecg.runs.records import Run
from mrecg.system.variables import variable
from mrecg.track.wandb_logger.labels import differing, sweep_name
from mrecg.track.wandb_logger.sender import Sender
from mrecg.track.wandb_logger.wandb_run import Mode, settings_of

JOB_TYPE = "compare"
NAMES = {JOB_TYPE: "comparison", "sensitivity": "sensitivity"}
"""What runs are called, before their group, by job type."""
TABLE, CURVES = "tables/comparison", "pictures/comparison"
MOST_DRAWN = 12
"""Runs up to which the picture has their curves; of more it would show nothing."""


class CompareRun(Silent):
    """Sends the comparison of a sweep's runs to one W&B run of its own.

    Args:
        config: Mode, project and entity: those of the sweep's jobs.
        folder: The sweep's folder; W&B writes to ``wandb/`` inside it.
        group: The W&B group of the jobs.
        runs: What is compared.
        mode: W&B's mode.

    Attributes:
        local: What W&B keeps of the run on this machine.
    """

    job_type = JOB_TYPE

    def __init__(
        self, config: LoggerConfig, *, folder: Path, group: str, runs: Sequence[Run], mode: Mode
    ) -> None:
        import wandb

        self.folder, self.runs = folder, runs
        # Folders of one name, here and on other machines, are sweeps of their own.
        own = hashlib.sha256(f"{self.job_type} {platform.node()} {folder.resolve()}".encode()).hexdigest()[:8]
        for earlier in (folder / WANDB).glob(f"offline-run-*-{own}"):  # of this sweep when it had fewer jobs
            shutil.rmtree(earlier, ignore_errors=True)
        self.run: wandb.Run = wandb.init(
            mode=mode,
            id=own,
            resume="allow",
            project=config.project,
            entity=config.entity,
            group=group[:LONGEST_NAME] or None,
            job_type=self.job_type,
            tags=list(config.tags) or None,
            name=f"{NAMES[self.job_type]} {group}".strip()[:LONGEST_NAME],
            dir=folder,
            reinit="finish_previous",
            settings=settings_of(),
        )
        self.local = Path(self.run.sync_dir)

    def plan(self, plan: Plan) -> None:
        """Ignore it."""

    def block_wise(self, errors: Sequence[float]) -> None:
        """Ignore it."""

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Send the comparison and end the run."""
        import wandb

        runs = self.runs
        columns, rows = comparison(runs)
        with TemporaryDirectory() as into, variable("WANDB_DATA_DIR", str(self.folder / WANDB)):
            row: dict[str, Any] = {TABLE: wandb.Table(columns=[*columns], data=rows)}
            if len(runs) <= MOST_DRAWN and len({run.unit_names for run in runs}) == 1:
                row[CURVES] = wandb.Image(str(oscillation_figure(runs, Path(into) / "comparison.png")))
            self.run.log(row, commit=True)
        self.run.summary.update({"runs": len(runs), **summary})
        self.run.finish(exit_code=1 if failed else 0)

    def close(self) -> None:
        """End the run as it is: something could not be sent."""
        self.run.finish(exit_code=1)


def completed(folder: Path) -> list[Run]:
    """Load the runs of a sweep that are complete; those that cannot be read are left out."""
    found: list[Run] = []
    with suppress(MrecgError):  # none is there
        for path in find_runs([folder]):
            with suppress(MrecgError):
                found.append(load_run(path, detailed=False))
    return [run for run in found if run.completed and run.units]


def comparison(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Compare runs.

    Returns:
        The columns, and a row for each run: its label, what it is, and the numbers that W&B's summaries have.
    """
    metrics = named("wandb")
    rows = []
    for run in runs:
        known = known_as(run.method, run.granularity, merged=bool(run.merged))
        label = ", ".join([known, *differing(run.path)])
        rows.append(
            [label, run.model, run.widths, run.seed, *(metric.value(run) for metric in metrics.values())]
        )
    return ["label", "model", "bits", "seed", *metrics], rows


def send(config: LoggerConfig, folder: Path, *, mode: Mode) -> None:
    """Send the comparison of a sweep, if it has two runs to compare.

    Args:
        config: That of the sweep's jobs.
        folder: The sweep's folder.
        mode: W&B's mode.
    """
    runs = completed(folder)
    if len(runs) < 2:
        return
    group = config.group or sweep_name(folder)
    begin = partial(CompareRun, config, folder=folder.absolute(), group=group, runs=runs)
    Sender(lambda how: begin(mode=how), mode=mode, folder=folder).finish({})
