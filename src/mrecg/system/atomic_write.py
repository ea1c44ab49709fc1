"""Files that are there whole, or not at all."""

import fcntl
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(
    r"\..+\.(csv|entry|html|journal|json|md|onnx|pdf|png|pt2|safetensors|svg|yaml)\.[a-z0-9_]{8}"
)
"""Name of a file that is being written; its ending is that of the file which it is to become."""
_OLD_SECONDS = 3600.0
"""Age of an abandoned temporary file, on file systems without locks, which would tell."""


def write_durably(file: Path, content: bytes, *, follow: bool = False) -> None:
    """Write a file so that it is there whole, or as it was before, even after a crash.

    Args:
        file: The file; its folder must be there.
        content: What it will hold.
        follow: Whether the user has named this very file. Then what a link leads to is written, and a pipe or
            a device gets the content. Otherwise the name gets a new file, even if it was another kind before:
            a folder from elsewhere may have put a link there.

    Raises:
        OSError: It could not be written; no temporary file is left. The error names the file.
    """
    if follow and file.exists() and not file.is_file():  # such as /dev/stdout, which stays what it is
        file.write_bytes(content)
        return
    try:
        _write(file.resolve() if follow and file.is_symlink() else file, content)
    except OSError as error:  # a write names no file, and the temporary one is nothing to the user
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error


def _write(file: Path, content: bytes) -> None:
    handle, temporary = _temporary(file)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    except OSError:
        pass  # not every file system can
    finally:
        os.close(folder)


def _temporary(file: Path) -> tuple[int, Path]:
    """Make a new file beside one, with the rights that the process gives to new files, and lock it.

    What no process holds locked was left by a process that is gone.
    """
    while True:
        path = file.with_name(f".{file.name[:80]}.{secrets.token_hex(4)}")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)  # another process removed it before it was locked


def sweep_up(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote; others are left alone.

    Args:
        folder: The folder; it need not be there. What lies in folders below it stays.
    """
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if _TEMPORARY.fullmatch(file.name) and file.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_abandoned(Path(file.path))


def _remove_abandoned(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return  # another process is writing it
    except OSError:
        if time.time() - os.fstat(handle).st_mtime > _OLD_SECONDS:
            path.unlink()
    finally:
        os.close(handle)
