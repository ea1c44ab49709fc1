"""The W&B run of ``mrecg sensitivity``: a table and a picture, once."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mrecg.config.schema import RunConfig
from mrecg.report import sensitivity_figure
from mrecg.runs.layout import WANDB
from mrecg.runs.sensitivity import COLUMNS, Sensitivity, cells
from mrecg.system.variables import variable
from mrecg.track.wandb_logger.compare_run import CompareRun
from mrecg.track.wandb_logger.sender import Sender
from mrecg.track.wandb_logger.wandb_run import Mode

TABLE, PICTURE = "tables/sensitivity", "pictures/sensitivity"


class SensitivityRun(CompareRun):
    """Sends what was measured to a W&B run of its own.

    Args:
        found: What was measured.
        named: As in `CompareRun`.
    """

    job_type = "sensitivity"

    def __init__(self, found: Sensitivity, **named: Any) -> None:
        super().__init__(runs=(), **named)
        self.found = found

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Send table and picture and end the run."""
        import wandb

        with TemporaryDirectory() as into, variable("WANDB_DATA_DIR", str(self.folder / WANDB)):
            drawn = sensitivity_figure(self.found, Path(into) / "sensitivity.png")
            rows = cells(self.found.rows)
            table = wandb.Table(columns=[*COLUMNS], data=rows)
            self.run.log({TABLE: table, PICTURE: wandb.Image(str(drawn))}, commit=True)
        for what in ("unit", "layer"):
            if worst := self.found.worst(what):
                self.run.summary[f"worst_{what}"] = worst[0].name
        self.run.summary["images"] = self.found.images
        self.run.finish(exit_code=1 if failed else 0)


def send(config: RunConfig, folder: Path, found: Sensitivity, *, mode: Mode) -> None:
    """Send what was measured.

    Args:
        config: Project, entity and the name of the run.
        folder: Where W&B keeps what it is sent.
        found: What was measured.
        mode: W&B's mode.
    """
    group = config.logger.group or config.name
    begin = partial(SensitivityRun, found, config=config.logger, folder=folder.absolute(), group=group)
    Sender(lambda how: begin(mode=how), mode=mode, folder=folder).finish({})
