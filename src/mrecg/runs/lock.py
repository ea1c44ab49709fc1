"""One process at a time in the folder of a run or of a sweep."""

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mrecg.errors import ConfigError, MrecgError
from mrecg.runs.layout import FOLDERS, LOCK, OPENED, SWEEP_LOCK, WANDB
from mrecg.system.checked_read import open_regular
from mrecg.system.lock import acquire, open_own, owner_of, write_owner

PATIENCE = 2.0
"""Seconds to wait for a lock: `locked` takes it briefly."""


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

    Raises:
        InUseError: Another process works there; names it.
    """
    file = folder / name
    with open_own(file) as stream:
        if not acquire(stream.fileno(), patience):
            raise InUseError(f"{folder}: {owner_of(file)} {doing}; {advice}")
        write_owner(stream)
        yield


def locked(folder: Path) -> bool:
    """Whether a process works in a run folder.

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


def leads_out(folder: Path) -> Path | None:
    """Find what would make a run that writes into its folder write elsewhere, or wait for ever.

    Args:
        folder: A run folder or a sweep's folder; it need not be there, and may itself be a link.

    Returns:
        A link, or what is neither file nor folder, where the run needs one of these; None: there is none.
    """
    for name in OPENED:
        if _is_odd(folder / name):
            return folder / name
    for name in FOLDERS:
        top = folder / name
        if top.is_symlink() or (top.exists() and not top.is_dir()):
            return top
        for place, folders, files in os.walk(top) if name != WANDB else ():
            for entry in (*folders, *files):
                path = Path(place, entry)
                if path.is_symlink() or (entry in files and _is_odd(path)):
                    return path
    return None


def _is_odd(file: Path) -> bool:
    """Whether a name is taken by anything but one file of its own."""
    try:
        found = file.lstat()
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_nlink > 1
