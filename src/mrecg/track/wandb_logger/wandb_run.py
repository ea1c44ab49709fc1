"""W&B: one run per job, every curve on its own step axis, offline unless asked otherwise."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from mrecg.config.outputs import LONGEST_NAME, LoggerConfig
from mrecg.planner.schedule import Plan
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import CurvePoint, FinishPoint, GroupResult, Silent, UnitResult
from mrecg.runs.layout import CONFIG, FAILED, PLAN, SUMMARY, WANDB, WEIGHTS
from mrecg.runs.measures import against_block
from mrecg.system.variables import variable
from mrecg.track.wandb_logger import labels, media, metrics
from mrecg.track.wandb_logger.offline import rows_kept

log = logging.getLogger(__name__)

Mode = Literal["offline", "online", "disabled"]
FLUSH_SECONDS = 2.0
"""Seconds for which W&B may hold records back; its default of 15 s loses a short run that is killed."""
START_SECONDS = 20.0
"""Seconds for W&B to reach its server before the run is written offline; its default is 90. Only the
end of a short job waits for it."""
UPLOAD_SECONDS = 45.0
"""Seconds for which the end of a run may upload; W&B's default is for ever. The rest stays on the disk."""
JOB_TYPE = "quantize"
"""W&B's job type of every run: the command."""
ARTIFACT_FILES = (WEIGHTS, PLAN, CONFIG, SUMMARY)
"""Files in the artifact of a run."""


class WandbRun(Silent):
    """Sends curves, plan and summary to one W&B run.

    W&B's own Lightning logger is not used: it ties every key to a global step that restarts with each fit.

    Args:
        config: Mode, project, group, tags, and whether there is an artifact.
        folder: The run folder; W&B writes to ``wandb/`` inside it.
        name: The run's name.
        settings: The run's whole configuration, as plain values.
        mode: W&B's mode; None: the configured one.
        run_id: The W&B run to begin or to continue; None: a new one, or what W&B's agent has chosen.

    Attributes:
        local: What W&B keeps of the run on this machine.
    """

    def __init__(
        self,
        config: LoggerConfig,
        *,
        folder: Path,
        name: str,
        settings: Mapping[str, Any],
        mode: Mode | None = None,
        run_id: str | None = None,
    ) -> None:
        quiet(config.wandb)
        import wandb

        self.config, self.folder, self.name, self.settings = config, folder, name, settings
        label = labels.label(settings, folder)
        kept = rows_kept(folder, run_id) if run_id and (mode or config.wandb) == "offline" else 0
        self.run: wandb.Run = wandb.init(
            mode=mode or config.wandb,
            id=run_id,
            resume="allow" if run_id else None,
            project=config.project,
            entity=config.entity,
            group=(config.group or labels.sweep(folder) or "")[:LONGEST_NAME] or None,
            job_type=JOB_TYPE,
            tags=labels.tags(settings, config.tags) or None,
            name=labels.display_name(settings, name, label)[:LONGEST_NAME],  # its own is in the configuration
            dir=folder,
            config={**settings, metrics.LABEL: label} if label else dict(settings),
            reinit="finish_previous",
            settings=settings_of(),
        )
        self.local = Path(self.run.sync_dir)
        # Under `wandb agent` the sweep's keys are locked: where it chooses a group by name (method=qdrop),
        # W&B has that name only and drops what the group holds.
        groups, held = {k: v for k, v in settings.items() if isinstance(v, Mapping)}, dict(self.run.config)
        if dropped := {key: groups[key] for key in groups if isinstance(held.get(key), str)}:
            self._set("resolved", dropped)
        for axis in (metrics.UNIT, metrics.STEP):
            self.run.define_metric(axis, hidden=True, summary="none")
        for key in (metrics.ERROR, metrics.LOSS):
            self._define(key, metrics.UNIT)
        self._floors: dict[str, float] = {}
        self._block: Sequence[float] = ()
        self._known: set[str] = set()
        self._plan: Plan | None = None
        self._places: dict[str, str] = {}
        self._passes = 0
        # Rows are numbered, and a resumed run reports its finished groups again: the same rows under
        # the same numbers. What W&B has of them is left out. Offline, that is what the files before hold:
        # `wandb sync` joins the files of a run and continues the numbers.
        self._row, self._shift = 0, kept
        self._known_rows = kept or int(self.run.starting_step)
        self._group_row = self._group_units = 0

    def _set(self, key: str, value: Mapping[str, Any]) -> None:
        """Put something beside the configuration; a resumed run may have had another value there."""
        config: Any = self.run.config
        config.update({key: dict(value)}, allow_val_change=True)

    def _define(self, key: str, axis: str, *, hidden: bool = False) -> None:
        """Bind a curve to its axis, by its exact name: a pattern would lose against W&B's own rules.

        The last value of a curve is not a result, so the table of runs gets none of them.
        """
        self.run.define_metric(key, step_metric=axis, step_sync=False, hidden=hidden, summary="none")

    def block_wise(self, errors: Sequence[float]) -> None:
        """Compare what comes with the errors of the block-wise run of the same settings."""
        self._block = tuple(errors)

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Count the pass."""
        self._passes += 1
        self._floors.clear()

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Keep the floor for the group's last unit, after which it is measured."""
        self._floors[members[-1]] = floor

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Send the points of a chunk."""
        place = metrics.with_pass(self._places.get(group, metrics.plain(group)), task, self._passes)
        for point in points:
            row = {metrics.curve_key(place, quantity): getattr(point, quantity) for quantity in metrics.CURVE}
            self._log(metrics.STEP, point.step, row)

    def unit(self, index: int, result: UnitResult) -> None:
        """Send the error and the loss after a unit, and what they are to be compared with."""
        against = against_block([result.error], self._block[index : index + 1]) if self._block else []
        row = {
            metrics.ERROR: result.error,
            metrics.LOSS: result.loss,
            metrics.FLOOR: self._floors.get(result.name),
            metrics.AGAINST_BLOCK: next(filter(math.isfinite, against), None),
        }
        self._log(metrics.UNIT, index, row)
        self._group_units += 1

    def finished(self, result: GroupResult) -> None:
        """Number the rows after a group by what is known of it later, too.

        The points of an attempt that diverged are told once only, when they happen.
        """
        if result.retries:
            self._row = self._group_row + (result.retries + 1) * (result.steps + 1) + self._group_units
        self._group_row, self._group_units = self._row, 0

    def judged(self, verdict: Verdict) -> None:
        """Name the curves to come by the groups that are kept."""
        if self._plan is not None:
            self._places |= metrics.places(self._plan.after([verdict]))

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Send the points of a chunk."""
        for point in points:
            row = {metrics.FINISH_LOSS: point.loss, metrics.FINISH_HELD_OUT: point.held_out}
            self._log(metrics.STEP, point.step, row)

    def plan(self, plan: Plan) -> None:
        """Send capacities and differences as curves over the units, and the groups to the config.

        A plan whose merges were judged comes after the one that was made; its curves were sent with that.
        """
        self._plan, self._places = plan, metrics.places(plan)
        self._set("plan", plan.as_dict())
        self._rename(merged=bool(plan.merged))
        if plan.verdicts:
            return
        for i in range(len(plan.units)):
            row: dict[str, float | None] = {}
            for one in metrics.leading(plan):
                row[metrics.capacity_key(one.name)] = one.capacities[i]
                if i:
                    row[metrics.difference_key(one.name, one.difference)] = one.differences[i - 1]
            self._log(metrics.UNIT, i, row)
        self._group_row = self._row

    def _rename(self, *, merged: bool) -> None:
        """Call the run by what its plan is: one that merges nothing is block-wise."""
        found = labels.label(self.settings, self.folder, merged=merged)
        config: Any = self.run.config
        if found and found != config.get(metrics.LABEL):
            config.update({metrics.LABEL: found}, allow_val_change=True)
            self.run.name = labels.display_name(self.settings, self.name, found)[:LONGEST_NAME]

    def _log(self, axis: str, at: int, row: Mapping[str, float | None]) -> None:
        """Send a row of curves that share an axis; None is not a value."""
        values = {key: value for key, value in row.items() if value is not None}
        for key in values.keys() - self._known:
            hidden = any(key.startswith(f"{metrics.CURVE[quantity]}/") for quantity in metrics.HIDDEN)
            self._define(key, axis, hidden=hidden)
        self._known |= values.keys()
        if values:
            if self._row >= self._known_rows:
                self.run.log({axis: at, **values}, step=self._row - self._shift, commit=True)
            self._row += 1

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary, and the artifact if there is to be one, and end the run.

        Args:
            summary: The content of summary.json; empty where the run failed.
            failed: Whether to mark the run as failed.
        """
        for place, error in enumerate(summary.get("evaluation_errors", ())):
            self._log(metrics.UNIT, place, {metrics.NEW_IMAGES: error})
        if not failed and (self.folder / SUMMARY).is_file():
            self._media(summary)
        self.run.summary.update(metrics.flat_summary({"status": FAILED, **summary}))
        self._set("provenance", {key: summary[key] for key in metrics.PROVENANCE if key in summary})
        if self.config.artifact and not failed:
            self._artifact()
        self.run.finish(exit_code=1 if failed else 0)

    def _media(self, summary: Mapping[str, Any]) -> None:
        """Send tables and pictures in a last row; without them the run is still whole."""
        import wandb

        try:
            # W&B keeps a copy of each table for the upload: in the run folder, not in the user's home.
            with TemporaryDirectory() as into, variable("WANDB_DATA_DIR", str(self.folder / WANDB)):
                row: dict[str, Any] = {
                    name: wandb.Table(columns=list(media.COLUMNS[name]), data=[list(line) for line in rows])
                    for name, rows in media.tables(self.folder, summary).items()
                }
                drawn = media.pictures(self.folder, Path(into))
                row |= {name: wandb.Image(str(file)) for name, file in drawn.items()}
                if row and self._row >= self._known_rows:
                    self.run.log(row, step=self._row - self._shift, commit=True)
        except Exception as error:  # a picture that cannot be drawn is no reason to lose the summary
            log.warning("W&B: no tables and pictures of this run (%s)", " ".join(str(error).split())[:200])

    def close(self) -> None:
        """End the run as it is: something could not be sent."""
        self.run.finish(exit_code=1)

    def _artifact(self) -> None:
        import wandb

        artifact = wandb.Artifact(metrics.plain(self.name), type="model")
        for file in (self.folder / name for name in ARTIFACT_FILES):
            if file.is_file():
                # Without a copy in the user's home, where an offline run would leave it for good.
                artifact.add_file(str(file.resolve()), policy="immutable")
        self.run.log_artifact(artifact)


def settings_of() -> Any:
    """W&B's own settings of a run: nothing on the terminal, and no wait without an end."""
    import wandb

    return wandb.Settings(
        x_transaction_log_flush_interval=FLUSH_SECONDS,
        console="off",
        silent=True,
        init_timeout=START_SECONDS,
        finish_timeout=UPLOAD_SECONDS,
        finish_timeout_raises=True,
    )


def quiet(mode: str) -> None:
    """Keep W&B from talking, and from looking up a telemetry host in each process; before its first import.

    Args:
        mode: ``offline``, ``online`` or ``disabled``, unless the environment says otherwise.
    """
    os.environ.setdefault("WANDB_MODE", mode)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
