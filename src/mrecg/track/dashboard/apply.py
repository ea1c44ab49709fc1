"""Bring a dashboard's specification to W&B: the only part that needs an account and a network."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from mrecg.errors import ConfigError, DataError
from mrecg.system.checked_read import read_regular
from mrecg.track.dashboard.specification import KIND, PACKAGE, packages
from mrecg.track.wandb_logger.account import has_key, server

T = TypeVar("T")
DEADLINE_SECONDS = 60.0
"""Seconds for everything that W&B does; its client itself would retry for much longer."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """Addresses of the dashboard.

    Attributes:
        workspace: Address of the saved workspace.
        report: Address of the report.
    """

    workspace: str
    report: str


def read(file: Path) -> dict[str, Any]:
    """Read a specification.

    Args:
        file: What ``mrecg dashboard`` has written.

    Raises:
        DataError: It is missing or something else.
    """
    try:
        values = json.loads(read_regular(file))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; mrecg dashboard DIR... writes one") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from error
    if (
        not isinstance(values, dict)
        or values.get("kind") != KIND
        or not {"workspace", "report"} <= values.keys()
    ):
        raise DataError(f"{file}: is not a dashboard; mrecg dashboard DIR... writes one")
    return values


def apply(
    specification: dict[str, Any],
    *,
    entity: str | None,
    project: str | None,
    seconds: float = DEADLINE_SECONDS,
) -> Applied:
    """Save the workspace and the report at W&B.

    Args:
        specification: From `mrecg.track.dashboard.specification.specification` or `read`.
        entity: W&B user or team; None: that of the specification, or the default of the key's owner.
        project: W&B project; None: that of the specification.
        seconds: How long to wait for W&B in all.

    Raises:
        ConfigError: The extra or a key is missing.
        DataError: The specification does not fit the installed package, or W&B refuses it or is not reached.
    """
    packages()
    if not has_key():
        raise ConfigError("dashboard: W&B has no key here; run wandb login, or set WANDB_API_KEY")
    where = entity or specification["workspace"].get("entity")
    to = project or specification["workspace"]["project"]
    return _in_time(lambda: _save(specification, where or _default_entity(), to), seconds)


def rebuild(specification: dict[str, Any], *, entity: str, project: str) -> tuple[Any, Any]:
    """Make the package's own objects of a specification.

    Args:
        entity: W&B user or team.

    Returns:
        A workspace and a report, ready to save.

    Raises:
        DataError: The specification does not fit the installed package.
    """
    ws, wr = packages()
    from wandb_workspaces.reports.v2 import internal as report_records
    from wandb_workspaces.workspaces import internal as workspace_records

    place = {"entityName": entity, "name": project}
    try:
        view = workspace_records.View.model_validate(
            {**specification["workspace"], "entity": entity, "project": project}
        )
        workspace = ws.Workspace._from_model(view)
        text = report_records.ReportViewspec.model_validate({**specification["report"], "project": place})
        report = wr.Report._from_model(text)
        report.width = text.spec.width  # which the package forgets on this way
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        made, here = specification.get("versions", {}).get(PACKAGE), version(PACKAGE)
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"dashboard: made with {PACKAGE} {made}, does not fit {here} here ({reason}); make it again"
        ) from error
    for block in report.blocks:
        for runs in getattr(block, "runsets", ()):
            runs.entity, runs.project = entity, project
    return workspace, report


def _save(specification: dict[str, Any], entity: str, project: str) -> Applied:
    workspace, report = rebuild(specification, entity=entity, project=project)
    workspace.save()
    report.save()
    return Applied(workspace=workspace.url, report=report.url)


def _default_entity() -> str:
    import wandb

    entity = wandb.Api().default_entity
    if not entity:
        raise ConfigError("dashboard: W&B names no default entity for this key; add --entity NAME")
    return str(entity)


def _in_time(task: Callable[[], T], seconds: float) -> T:
    """Call something that may hang, in a thread that the process does not wait for."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(task())
        except BaseException as error:  # of any kind: handed over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=work, name="wandb", daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome:
        return outcome[0]
    if not failure:
        raise DataError(
            f"dashboard: no answer from {server()} within {seconds:.0f} s; try again, or --offline"
        )
    if isinstance(failure[0], (ConfigError, DataError)):
        raise failure[0]
    reason = " ".join(str(failure[0]).split())[:300] or type(failure[0]).__name__
    raise DataError(f"dashboard: {server()} did not take it: {reason}") from failure[0]
