"""A W&B run as its offline file tells it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrecg.track.wandb_logger.offline import records, row_of


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
            run.history.append(row_of(record.history.item))
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


def _update(values: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = json.loads(item.value_json)
