"""Files that one process at a time holds locked, with a record of that process."""

import errno
import fcntl
import json
import os
import socket
import stat
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from mrecg.system.checked_read import read_regular

SAY_SECONDS, SAY_AGAIN_SECONDS = 5.0, 300.0
"""Seconds of waiting for another process before the first message, and between the next ones."""


def open_own(file: Path) -> BinaryIO:
    """Open a file that is kept locked, or make it; a link or a pipe in its place is not touched.

    Returns:
        The file, for appending, without a buffer.

    Raises:
        OSError: It cannot be opened, or something else has its name.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(file, flags, 0o666)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        raise OSError(errno.EINVAL, "is no file of its own", str(file))
    return os.fdopen(handle, "ab", buffering=0)


def acquire(file: int, patience: float) -> bool:
    """Lock an open file; False where another process has it locked for longer than ``patience`` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        except OSError:
            return True  # a file system without locks


def owner_of(file: Path) -> str:
    """Say which process holds a file locked.

    Args:
        file: The file, in which its owner has written who it is.

    Returns:
        For example ``process 12 on node3 (since 2026-01-31T12:00:00 UTC)``, with "which is stopped" where
        that can be seen; without the owner's words "another process".
    """
    try:
        owner: dict[str, Any] = json.loads(read_regular(file, 10_000))
        pid, host = int(owner["pid"]), str(owner["host"])
        stopped = ", which is stopped," if host == socket.gethostname() and _stopped(pid) else ""
        return f"process {pid} on {host} (since {owner['started'][:19]} UTC){stopped}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _stopped(pid: int) -> bool:
    """Return whether a process of this machine was stopped, by Ctrl-Z or SIGSTOP; False if unknown."""
    try:  # the state follows the name, which may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, ValueError, IndexError):
        return False


def write_owner(stream: IO[bytes]) -> None:
    """Write into a locked file who has locked it.

    Args:
        stream: The file, open to write without a buffer.
    """
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now(UTC).isoformat()}
    with suppress(OSError):  # on a full disk it is locked all the same, without a record of the owner
        stream.truncate(0)
        stream.write((json.dumps(owner) + "\n").encode())
