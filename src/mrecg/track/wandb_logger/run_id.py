"""The W&B run of a run folder: a resumed run continues the W&B run that it began."""

import json
import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from mrecg.config.schema import RunConfig
from mrecg.runs.identity import identity_of
from mrecg.runs.layout import WANDB
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import json_object, read_regular

log = logging.getLogger(__name__)
FILE = Path(WANDB) / "mrecg-run.json"
"""Below the run folder, from the start of a run until it is complete."""
_ID = re.compile(r"[0-9a-f]{8}")


def run_id(config: RunConfig, folder: Path) -> str | None:
    """Find the id of an interrupted run, or draw one and keep it.

    Returns:
        8 hexadecimal digits; None where W&B's agent has chosen an id.
    """
    if os.environ.get("WANDB_RUN_ID") or os.environ.get("WANDB_SWEEP_ID"):
        return None
    file, identity = folder / FILE, identity_of(config)
    kept = None if config.resume == "never" else _read(file, identity)
    if kept is not None:
        return kept
    drawn = secrets.token_hex(4)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, (json.dumps({"id": drawn, "run": identity}) + "\n").encode())
    except OSError as error:
        log.warning("W&B: %s is not written (%s); resumed, the run would be another one there", file, error)
    return drawn


def forget(folder: Path) -> None:
    """Give up the id: the run is complete, and what comes after it in its folder is another one."""
    with suppress(OSError):  # what is left has the hash of its run
        (folder / FILE).unlink(missing_ok=True)


def _read(file: Path, identity: str) -> str | None:
    """The id, if it is that of the same run and readable; a new one costs nothing but a second curve."""
    try:
        values = json_object(read_regular(file))
    except (OSError, ValueError):
        return None
    kept = values.get("id")
    return kept if values.get("run") == identity and isinstance(kept, str) and _ID.fullmatch(kept) else None
