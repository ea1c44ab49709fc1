"""One process at a time in a run folder, and who it is."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mrecg.errors import MrecgError

LOCK = "run.lock"
"""Whoever works in a run folder holds this file locked; the system lets go of it however the process ends."""
PATIENCE = 2.0
"""Seconds to wait for a lock: whoever looks whether a run goes on holds it for a moment."""


class InUseError(MrecgError):
    """Another process works in the run folder."""


@contextmanager
def run_lock(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep other processes out of a run folder.

    Args:
        folder: The folder; it must be there.
        patience: Seconds to wait for another one to leave.

    Yields:
        Nothing.

    Raises:
        InUseError: Another process works there; names it.
    """
    file = folder / LOCK
    with file.open("ab", buffering=0) as stream:
        _acquire(stream.fileno(), folder, patience)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now(UTC).isoformat()}
        with suppress(OSError):  # on a full disk it is locked all the same, only nobody learns by whom
            stream.truncate(0)
            stream.write((json.dumps(owner) + "\n").encode())
        yield


def _acquire(file: int, folder: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise InUseError(
                    f"{folder}: {_who(folder)} works in it; wait, or choose another folder"
                ) from None
            time.sleep(0.05)
        except OSError:
            return  # a file system without locks


def locked(folder: Path) -> bool:
    """Whether a process works in a run folder.

    Args:
        folder: The folder.

    Returns:
        False also where there is no such folder, or no lock can be had at all.
    """
    try:
        with (folder / LOCK).open() as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _who(folder: Path) -> str:
    try:
        owner: dict[str, Any] = json.loads((folder / LOCK).read_text())
        return f"process {owner['pid']} on {owner['host']} (since {owner['started'][:19]} UTC)"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
