"""All trackers of a run: the files of its folder, and W&B unless it is disabled."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.events import Listener, UnitResult
from mrecg.runs.layout import PLAN
from mrecg.system.atomic_write import write_durably
from mrecg.track.csv_files import CsvFiles
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
    """

    csv: CsvFiles | None = None
    wandb: Sender | None = None
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def listeners(self) -> list[Listener]:
        """The listeners of the reconstruction."""
        return [tracker for tracker in (self.csv, self.wandb) if tracker is not None]

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
def tracked(config: RunConfig, folder: Path) -> Iterator[Trackers]:
    """Open the trackers of a run, and close them at its end and after errors.

    Yields:
        The trackers.
    """
    trackers = Trackers(csv=CsvFiles(folder), wandb=_sender(config, folder), folder=folder)
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


def _sender(config: RunConfig, folder: Path) -> Sender | None:
    """Start W&B, as far as it can be had; what it lacks is a warning."""
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
        mode="offline" if logged_out else mode,
        folder=folder,
        artifact=config.logger.artifact,
        fallen_back=logged_out,
    )
