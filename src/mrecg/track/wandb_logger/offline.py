"""Read back what W&B leaves offline; ``wandb sync`` uploads the same records."""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mrecg.errors import DataError
from mrecg.system.checked_read import read_regular


@dataclass(frozen=True, kw_only=True)
class Definition:
    """How W&B was told to show a curve.

    Attributes:
        axis: Its step axis; empty: none of its own.
        hidden: Whether the default workspace has no panel for it.
        in_summary: Whether its last value goes into the summary.
    """

    axis: str
    hidden: bool
    in_summary: bool


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Files that belong to a run.

    Attributes:
        name: Its name.
        type: ``model`` for quantized weights.
        files: Where each file lies on this machine, by its name in the artifact.
    """

    name: str
    type: str
    files: Mapping[str, Path]


@dataclass(kw_only=True)
class OfflineRun:
    """All that an offline file says about a run.

    Attributes:
        name: Display name.
        project: W&B project.
        entity: W&B user or team; empty: the default of whoever syncs.
        group: The sweep.
        job_type: The verb.
        tags: In W&B's order.
        config: Nested.
        summary: As the run left it, with W&B's own ``_step``, ``_timestamp`` and ``_runtime`` among the keys.
        history: The logged rows, with the same keys of W&B's own.
        definitions: By the exact name of the curve.
        artifacts: In the order in which they were logged.
        exit_code: None where the run did not come to its end.
    """

    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    definitions: dict[str, Definition] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    exit_code: int | None = None

    def curve(self, key: str) -> list[tuple[float, float]]:
        """One curve as W&B draws it.

        Args:
            key: Its exact name.

        Returns:
            Pairs of its own step axis and its value, in the order of logging.
        """
        axis = self.definitions[key].axis
        return [(row[axis], row[key]) for row in self.history if key in row]


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Read the logged rows back from the file that W&B leaves offline.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Yields:
        One dict a logged row, with W&B's own ``_step``, ``_timestamp`` and ``_runtime`` among the keys.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            yield _row(record.history.item)


def read_run(path: Path | str) -> OfflineRun:
    """Read everything back from the file that W&B leaves offline.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Returns:
        The run, also where it was killed on the way.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    run = OfflineRun()
    for record in records(Path(path)):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            part = record.run
            run.name, run.project, run.entity = part.display_name, part.project, part.entity
            run.group, run.job_type, run.tags = part.run_group, part.job_type, tuple(part.tags)
            _update(run.config, part.config.update)
        elif kind == "config":
            _update(run.config, record.config.update)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
        elif kind == "history":
            run.history.append(_row(record.history.item))
        elif kind == "metric":
            part = record.metric
            run.definitions[part.name] = Definition(
                axis=part.step_metric, hidden=part.options.hidden, in_summary=not part.summary.none
            )
        elif kind == "artifact":
            part = record.artifact
            files = {entry.path: Path(entry.local_path) for entry in part.manifest.contents}
            run.artifacts.append(Artifact(name=part.name, type=part.type, files=files))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def rows_kept(folder: Path, run_id: str) -> int:
    """Count the rows that the files of a W&B run hold, however many times it was begun.

    Args:
        folder: The run folder.
        run_id: The W&B run.

    Returns:
        How many numbers of rows they take; nothing for a file that cannot be read.
    """
    kept = 0
    for file in folder.glob(f"wandb/*run-*-{run_id}/run-{run_id}.wandb"):
        try:
            numbers = [row["_step"] for row in read_history(file)]
        except Exception:  # whatever a damaged file makes of protobuf's messages; its rows are sent again
            continue
        kept += numbers[-1] - numbers[0] + 1 if numbers else 0
    return kept


def _row(items: Iterable[Any]) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _update(values: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = json.loads(item.value_json)


def records(path: Path) -> Iterator[Any]:
    """Read all records of an offline file, as W&B's own messages.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Yields:
        ``wandb_internal_pb2.Record``.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    record_type: Any = import_module("wandb.proto.wandb_internal_pb2").Record  # made at run time
    files = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} .wandb files; name one")
    for data in log_records(files[0]):
        record = record_type()
        record.ParseFromString(data)
        yield record


_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_BLOCK = 32768
_FULL, _FIRST, _LAST = 1, 2, 4


def log_records(path: Path) -> Iterator[bytes]:
    """Split the file into records: LevelDB's log format behind a header of W&B's own.

    Args:
        path: A ``.wandb`` file.

    Yields:
        The bytes of a record; nothing of one that a killed run left incomplete.

    Raises:
        DataError: It does not begin as such a file.
    """
    content = read_regular(path)
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
            return
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts
