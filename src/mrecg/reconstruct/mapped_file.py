"""Memory on disk: files that only their mapping keeps alive."""

import errno
import math
import mmap
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from mrecg.errors import FULL, ConfigError


def mapped(folder: Path | None, size: int, dtype: torch.dtype) -> Tensor:
    """Map a new file. It has no name, so it is gone with its tensor, however the process ends.

    Args:
        folder: Where the file takes its room; None: the system's temporary folder.
        size: Bytes, > 0.

    Returns:
        A tensor of one dimension, not initialised.

    Raises:
        ConfigError: The folder cannot be written to, or has no room.
    """
    try:
        folder = Path(tempfile.gettempdir()) if folder is None else folder  # raises where there is none
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file.fileno(), size)
            return torch.frombuffer(mmap.mmap(file.fileno(), size), dtype=dtype)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise
        need = f"has no room for {math.ceil(size / 2**20)} MB" if error.errno in FULL else "is not writable"
        where = folder or "the temporary folder"
        raise ConfigError(
            f"cache.folder: {where} {need} ({error.strerror or error}); name a folder on a disk with room, "
            "or raise cache.budget_mb to keep more in memory"
        ) from error


def _reserve(file: int, size: int) -> None:
    """Take the room now: writing to a mapped file on a full disk would end the process without a word."""
    try:
        os.posix_fallocate(file, 0, size)
    except AttributeError:  # not every system has it
        os.truncate(file, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.truncate(file, size)
