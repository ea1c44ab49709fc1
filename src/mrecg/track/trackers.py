"""All trackers of a run: the files of its folder, and W&B unless it is disabled."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrecg.config.build import plain
from mrecg.config.schema import RunConfig
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.records import Listener
from mrecg.track.csv_files import CsvFiles
from mrecg.track.wandb_run import WandbRun


@dataclass
class Trackers:
    """Where curves, plan and summary go.

    Attributes:
        csv: The run folder's files.
        wandb: The W&B run.
        folder: The run folder.
        summary: Filled when the run is complete.
    """

    csv: CsvFiles | None = None
    wandb: WandbRun | None = None
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def listeners(self) -> list[Listener]:
        """Those who follow the reconstruction."""
        return [tracker for tracker in (self.csv, self.wandb) if tracker is not None]

    def plan(self, plan: Plan) -> None:
        """Write the plan as soon as it is made.

        Args:
            plan: The plan.
        """
        if self.folder is not None:
            (self.folder / "plan.json").write_text(json.dumps(plan.as_dict(), indent=2) + "\n")
        if self.wandb is not None:
            self.wandb.plan(plan)


@contextmanager
def tracked(config: RunConfig, folder: Path) -> Iterator[Trackers]:
    """Open the trackers of a run and close them whatever happens.

    Args:
        config: The configuration.
        folder: The run folder.

    Yields:
        The trackers.
    """
    trackers = Trackers(csv=CsvFiles(folder), folder=folder)
    if config.logger.wandb != "disabled":
        trackers.wandb = WandbRun(config.logger, folder=folder, name=config.name, settings=plain(config))
    try:
        yield trackers
    finally:
        if trackers.wandb is not None:
            trackers.wandb.finish(trackers.summary, failed=not trackers.summary)
