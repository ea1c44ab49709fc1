"""W&B: one run a job, every curve with its own step axis, offline unless asked otherwise."""

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mrecg.config.schema import LoggerConfig
from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.records import CurvePoint, UnitResult
from mrecg.track import metrics

FLUSH_SECONDS = 2.0
"""How long W&B may hold records back; its default of 15 s loses a short run that is killed."""


class WandbRun:
    """Sends curves, plan and summary to one W&B run.

    W&B's own Lightning logger is not used: it ties every key to a global step that restarts with each fit.

    Args:
        config: Mode, project, group and tags.
        folder: The run folder; W&B writes to ``wandb/`` inside it.
        name: The run's name.
        settings: The run's whole configuration, as plain values.
    """

    def __init__(self, config: LoggerConfig, *, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_MODE", config.wandb)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # or each process looks up a telemetry host
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self.run: wandb.Run = wandb.init(
            mode=config.wandb,
            project=config.project,
            entity=config.entity,
            group=config.group,
            tags=config.tags or None,
            name=name,
            dir=folder,
            config=dict(settings),
            reinit="finish_previous",
            settings=wandb.Settings(
                x_transaction_log_flush_interval=FLUSH_SECONDS, console="off", silent=True
            ),
        )
        self.run.define_metric(metrics.UNIT_INDEX, hidden=True)
        for key in (metrics.UNIT_ERROR, metrics.UNIT_LOSS):
            self.run.define_metric(key, step_metric=metrics.UNIT_INDEX)
        self._known: set[str] = set()

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Nothing to send."""

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Send the points of a chunk."""
        axis = metrics.curve_key(group, task, "step")
        if axis not in self._known:
            # Exact names: a pattern such as unit/*/... would lose against W&B's own rules.
            self.run.define_metric(axis, hidden=True)
            for quantity in metrics.CURVE:
                self.run.define_metric(metrics.curve_key(group, task, quantity), step_metric=axis)
            self._known.add(axis)
        for point in points:
            values = {quantity: getattr(point, quantity) for quantity in metrics.CURVE}
            row = {metrics.curve_key(group, task, q): v for q, v in values.items() if v is not None}
            self.run.log({axis: point.step, **row})

    def unit(self, index: int, result: UnitResult) -> None:
        """Send the error and the loss behind a unit."""
        self.run.log(
            {metrics.UNIT_INDEX: index, metrics.UNIT_ERROR: result.error, metrics.UNIT_LOSS: result.loss}
        )

    def plan(self, plan: Plan) -> None:
        """Send the capacities as curves over the units, and the groups to the config.

        Args:
            plan: The plan of the run.
        """
        self.run.config["plan"] = plan.as_dict()
        columns = {metrics.capacity_key(criterion.name): criterion.capacities for criterion in plan.criteria}
        for key in columns:
            self.run.define_metric(key, step_metric=metrics.UNIT_INDEX)
        for i in range(len(plan.units)):
            self.run.log({metrics.UNIT_INDEX: i, **{key: values[i] for key, values in columns.items()}})

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary and end the run.

        Args:
            summary: Plain values.
            failed: Whether to mark the run as failed.
        """
        self.run.summary.update({key: value for key, value in summary.items() if key != "units"})
        self.run.finish(exit_code=1 if failed else 0)


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Read the logged rows back from the file that W&B leaves offline.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Yields:
        One dict a logged row, with W&B's own ``_step``, ``_timestamp`` and ``_runtime`` among the keys.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    record_type: Any = import_module("wandb.proto.wandb_internal_pb2").Record  # made at run time
    files = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} .wandb files; name one")
    for data in _log_records(files[0]):
        record = record_type()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            yield {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_BLOCK = 32768
_FULL, _FIRST, _LAST = 1, 2, 4


def _log_records(path: Path) -> Iterator[bytes]:
    """Split the file into records: LevelDB's log format behind a header of W&B's own."""
    content = path.read_bytes()
    if content[:4] != b":W&B":
        raise DataError(f"{path}: does not begin as a W&B file")
    position, parts = _FILE_HEADER.size, b""
    while position + _CHUNK_HEADER.size <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _CHUNK_HEADER.size:
            position += left
            continue
        _, length, kind = _CHUNK_HEADER.unpack_from(content, position)
        position += _CHUNK_HEADER.size
        part = content[position : position + length]
        position += length
        if len(part) < length:
            return  # a killed run ends in the middle of a record
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts
