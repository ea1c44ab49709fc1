"""One process at a time in a folder, and who it is."""

import errno
import fcntl
import json
import os
import shlex
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from mrecg.errors import ConfigError, MrecgError
from mrecg.system.atomic_write import leads_out
from mrecg.system.checked_read import open_regular, read_regular

LOCK = "run.lock"
"""Whoever works in a run folder holds this file locked; the system lets go of it however the process ends."""
PATIENCE = 2.0
"""Seconds to wait for a lock: whoever looks whether a run goes on holds it for a moment."""
SWEEP_LOCK = "sweep.lock"
"""The same of a sweep's folder: held from the reading of the list of jobs to the end of the last of them."""
SAY_SECONDS, SAY_AGAIN_SECONDS = 5.0, 300.0
"""After how long whoever waits for another process says so, and after how long again."""


class InUseError(MrecgError):
    """Another process works in the folder."""

    exit_code = 2


def sweep_lock(folder: Path) -> AbstractContextManager[None]:
    """Keep other sweeps out of a sweep's folder; its jobs have locks of their own.

    Args:
        folder: The folder; it must be there.

    Returns:
        For a ``with`` block, which raises `InUseError` where another process sweeps there.
    """
    look = f"see how far it is by: mrecg sweep status {shlex.quote(str(folder))}"
    return run_lock(folder, name=SWEEP_LOCK, doing="runs a sweep in it", advice=look)


def refuse_links(folder: Path) -> None:
    """Refuse a folder in which something leads elsewhere where a run or a sweep writes.

    Args:
        folder: The folder; it need not be there, and may itself be a link.

    Raises:
        ConfigError: There is a link, or what is neither file nor folder.
    """
    if (odd := leads_out(folder)) is not None:
        raise ConfigError(f"{odd}: is a link or no file, and would be written to; remove it")


@contextmanager
def run_lock(
    folder: Path,
    *,
    patience: float = PATIENCE,
    name: str = LOCK,
    doing: str = "works in it",
    advice: str = "wait, or choose another folder",
) -> Iterator[None]:
    """Keep other processes out of a run folder.

    Args:
        folder: The folder; it must be there.
        patience: Seconds to wait for another one to leave.
        name: The file that is locked.
        doing: What the other process does, for the error.
        advice: What to do about it.

    Yields:
        Nothing.

    Raises:
        InUseError: Another process works there; names it.
    """
    file = folder / name
    with open_own(file) as stream:
        if not _acquire(stream.fileno(), patience):
            raise InUseError(f"{folder}: {owner_of(file)} {doing}; {advice}")
        write_owner(stream)
        yield


def open_own(file: Path) -> BinaryIO:
    """Open a file that is kept locked, or make it; a link or a pipe in its place is not touched.

    Args:
        file: The file.

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


def _acquire(file: int, patience: float) -> bool:
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


def locked(folder: Path) -> bool:
    """Whether a process works in a run folder.

    Args:
        folder: The folder.

    Returns:
        False also where there is no such folder, or no lock can be had at all.
    """
    try:
        with open_regular(folder / LOCK) as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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
    """Whether a process of this machine was stopped, by Ctrl-Z or SIGSTOP; False where nobody can tell."""
    try:  # the state stands behind the name, which may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, ValueError, IndexError):
        return False


def write_owner(stream: IO[bytes]) -> None:
    """Write into a locked file who has locked it.

    Args:
        stream: The file, open to write without a buffer.
    """
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now(UTC).isoformat()}
    with suppress(OSError):  # on a full disk it is locked all the same, only nobody learns by whom
        stream.truncate(0)
        stream.write((json.dumps(owner) + "\n").encode())
