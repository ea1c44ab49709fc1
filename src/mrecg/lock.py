"""One process at a time in a run folder, and who it is."""

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from mrecg.durable import leads_out
from mrecg.errors import ConfigError, MrecgError
from mrecg.stored import open_regular, read_regular

LOCK = "run.lock"
"""Whoever works in a run folder holds this file locked; the system lets go of it however the process ends."""
PATIENCE = 2.0
"""Seconds to wait for a lock: whoever looks whether a run goes on holds it for a moment."""


class InUseError(MrecgError):
    """Another process works in the run folder."""


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
    with open_own(folder / LOCK) as stream:
        _acquire(stream.fileno(), folder, patience)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now(UTC).isoformat()}
        with suppress(OSError):  # on a full disk it is locked all the same, only nobody learns by whom
            stream.truncate(0)
            stream.write((json.dumps(owner) + "\n").encode())
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
        with open_regular(folder / LOCK) as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _who(folder: Path) -> str:
    try:
        owner: dict[str, Any] = json.loads(read_regular(folder / LOCK, 10_000))
        return f"process {owner['pid']} on {owner['host']} (since {owner['started'][:19]} UTC)"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
