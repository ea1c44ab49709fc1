"""All trackers of a run: the files of its folder, and W&B unless it is disabled."""

import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.events import Listener, UnitResult
from mrecg.runs.layout import PLAN, WANDB
from mrecg.runs.sensitivity import Sensitivity
from mrecg.system.atomic_write import write_durably
from mrecg.track.csv_files import CsvFiles
from mrecg.track.wandb_logger import compare_run, sensitivity_run
from mrecg.track.wandb_logger.account import has_key, server
from mrecg.track.wandb_logger.run_id import forget, run_id
from mrecg.track.wandb_logger.sender import Sender, reason
from mrecg.track.wandb_logger.wandb_run import WandbRun, quiet

log = logging.getLogger(__name__)
REMEDY = "pip install wandb, or logger=csv"
"""Remedy where the package is missing."""


@dataclass
class Trackers:
    """Receives curves, plan and summary.

    Attributes:
        csv: The run folder's files.
        wandb: Sends to the W&B run; None where there is none.
        summary: Filled when the run is complete.
        others: Listeners of the caller, told after the files are written.
    """

    csv: CsvFiles | None = None
    wandb: Sender | None = None
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    others: Sequence[Listener] = ()

    @property
    def listeners(self) -> list[Listener]:
        """The listeners of the reconstruction."""
        return [*(tracker for tracker in (self.csv, self.wandb) if tracker is not None), *self.others]

    def plan(self, plan: Plan) -> None:
        """Write the plan as soon as it is made."""
        if self.folder is not None:
            content = json.dumps(plan.as_dict(), indent=2) + "\n"
            write_durably(self.folder / PLAN, content.encode())
        if self.wandb is not None:
            self.wandb.plan(plan)

    def block_wise(self, errors: Sequence[float]) -> None:
        """Compare the units' errors with those of the block-wise run of the same settings."""
        if self.wandb is not None:
            self.wandb.block_wise(errors)

    def units(self, units: Sequence[UnitResult]) -> None:
        """Write the units' errors again: finishing has changed them. W&B keeps the reconstruction's."""
        if self.csv is not None:
            self.csv.units(units)


@contextmanager
def tracked(config: RunConfig, folder: Path, others: Sequence[Listener] = ()) -> Iterator[Trackers]:
    """Open the trackers of a run, and close them at its end and after errors.

    Args:
        others: Listeners of the caller.

    Yields:
        The trackers.
    """
    trackers = Trackers(csv=CsvFiles(folder), wandb=_sender(config, folder), folder=folder, others=others)
    try:
        yield trackers
    finally:
        try:
            if trackers.wandb is not None:
                trackers.wandb.finish(trackers.summary, failed=not trackers.summary)
            if trackers.summary:
                forget(folder)
        except Exception as error:  # what was computed is in the folder, and what ended the run counts more
            log.warning("W&B: the end of the run was not sent (%s)", reason(error))


def compare_sweep(config: RunConfig, folder: Path) -> None:
    """Log the comparison of a sweep's runs to a W&B run of its own; what goes wrong is a warning.

    Args:
        config: That of one of its jobs.
        folder: The sweep's folder.
    """
    try:
        mode = _mode(config)
        if mode is not None:
            compare_run.send(config.logger, folder, mode=mode)
    except Exception as error:  # the runs are in their folders
        log.warning("W&B: the comparison was not sent (%s)", reason(error))


def log_sensitivity(config: RunConfig, folder: Path, found: Sensitivity) -> None:
    """Log sensitivities, a table and a picture, to a W&B run of their own; what goes wrong is a warning.

    Args:
        config: Mode, project and entity.
        folder: Where their files are.
        found: What was measured.
    """
    try:
        mode = _mode(config)
        if mode is not None:
            sensitivity_run.send(config, folder, found, mode=mode)
    except Exception as error:  # the files are in the folder
        log.warning("W&B: the sensitivities were not sent (%s)", reason(error))


def commands(folder: Path, *, runs: bool = True) -> list[str]:
    """Say how to send what W&B has kept offline, and to make a dashboard of it.

    Args:
        folder: A run folder, or that of a sweep.
        runs: Whether there are runs to make a dashboard of.

    Returns:
        One line; none where W&B has kept nothing.
    """
    where, kept = shlex.quote(str(folder)), f"{WANDB}/offline-run-*"
    places = [f"{where}/{WANDB}"] * any(folder.glob(kept))
    places += [f"{where}/*/{WANDB}"] * any(folder.glob(f"*/{kept}"))
    online = any(folder.glob(f"{WANDB}/run-*")) or any(folder.glob(f"*/{WANDB}/run-*"))
    said = [f"wandb sync {' '.join(places)}"] * bool(places)
    said += [f"mrecg dashboard {where}"] * (runs and bool(places or online))
    return [f"W&B: {' && '.join(said)}"] if said else []


def _mode(config: RunConfig) -> Literal["offline", "online"] | None:
    """W&B's mode as far as it can be had; what it lacks is a warning. None: it cannot, or is not wanted."""
    mode = config.logger.wandb
    if mode == "disabled":
        return None
    quiet(mode)  # here and not in the sender's thread: the environment belongs to all
    try:
        import wandb  # noqa: F401
    except Exception as error:  # a broken installation may raise anything
        missing = isinstance(error, ModuleNotFoundError) and error.name == "wandb"
        why = "is not installed" if missing else f"cannot be imported ({reason(error)})"
        log.warning("W&B: the package wandb %s: only the CSV files are written; %s", why, REMEDY)
        return None
    if logged_out := mode == "online" and not has_key():
        log.warning("W&B: not logged in at %s (wandb login); written offline instead", server())
    return "offline" if logged_out else mode


def _sender(config: RunConfig, folder: Path) -> Sender | None:
    """Start W&B, as far as it can be had."""
    mode = _mode(config)
    if mode is None:
        return None
    begin = partial(
        WandbRun,
        config.logger,
        folder=folder.absolute(),
        name=config.name,
        settings=plain(config),
        run_id=run_id(config, folder),
    )
    return Sender(
        lambda how: begin(mode=how),
        mode=mode,
        folder=folder,
        artifact=config.logger.artifact,
        fallen_back=mode != config.logger.wandb,
    )
