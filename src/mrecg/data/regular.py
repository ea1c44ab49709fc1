"""Opening files that may be anything: a pipe or a device would be waited for without an end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NoFileError(OSError):
    """A path names a pipe, a device, a socket or a folder."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it, and nothing that only has a file's name.

    Args:
        path: The file; a link to one is one.

    Returns:
        The open file.

    Raises:
        NoFileError: Something else is there.
        OSError: It cannot be read.
    """
    _check(path.stat())  # first, because opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor))  # again, because it may have been replaced
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NoFileError("is no file")
