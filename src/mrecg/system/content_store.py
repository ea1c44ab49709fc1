"""Content-addressed files: what was computed once, under the hash of everything that decided it.

Safe for many processes: a file appears whole or not at all, and one that does not match its checksum is
taken for missing. Nothing in a file is ever executed.
"""

import fcntl
import hashlib
import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mrecg.system.atomic_write import sweep_up, write_durably
from mrecg.system.checked_read import DAMAGED, json_object, read_regular
from mrecg.system.lock import SAY_AGAIN_SECONDS, SAY_SECONDS, open_own, owner_of, write_owner

_MAGIC = b"mrecg shelf 1\n"
_FACTS = "facts"
_ENDING, _LOCK = ".entry", ".lock"
_KEY = re.compile(r"[a-z]+-[0-9a-f]{32}")
_SKEW_NS = 3_600_000_000_000
"""Clocks of machines that share a folder differ, but not by hours."""
MB = 2**20
POLL_SECONDS = 0.2
"""Between two looks whether a lock is free."""


@dataclass(frozen=True)
class Entry:
    """Content of one key.

    Attributes:
        facts: Plain values that JSON can hold.
        tensors: By name, on the CPU.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class ContentStore:
    """A folder of entries.

    Args:
        folder: Where; made when the first entry is put.
        limit_mb: Size of all entries, at most, MB; those that were not used for longest go. None: no limit.

    Attributes:
        complained: Whether a failure to write was reported, which is done once.
    """

    def __init__(self, folder: Path, limit_mb: int | None = None) -> None:
        self.folder, self.limit_mb = folder, limit_mb
        self.complained = self._cleared = False

    def get(self, key: str) -> Entry | None:
        """Find an entry.

        Args:
            key: A word, ``-`` and 32 hexadecimal digits.

        Returns:
            The entry; None where there is none, or where its file is damaged (that file is removed).
        """
        file = self._file(key)
        try:
            content = read_regular(file)
        except OSError:
            return None
        entry = _parse(content)
        if entry is None:
            with suppress(OSError):
                file.unlink()
            return None
        with suppress(OSError):
            os.utime(file)  # used just now
        return entry

    def has(self, key: str) -> bool:
        """Return whether there is an entry, without a look into it.

        Args:
            key: A word, ``-`` and 32 hexadecimal digits.
        """
        return self._file(key).exists()

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry, durably: when this returns, it survives a crash of the machine.

        Args:
            key: A word, ``-`` and 32 hexadecimal digits.

        Raises:
            OSError: There is no room, or the folder cannot be written to; no temporary file is left.
        """
        file = self._file(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(file, _content(entry))
        self._clear()
        if self.limit_mb is not None:
            self._make_room(self.limit_mb * MB, newest=file)

    def drop(self, key: str) -> None:
        """Give an entry up, if it is there.

        Args:
            key: A word, ``-`` and 32 hexadecimal digits.
        """
        with suppress(OSError):
            self._file(key).unlink()

    @contextmanager
    def lock(self, key: str, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Let one process at a time compute what belongs under a key; the others wait for it.

        The lock ends with its process. Where the folder cannot be written to, no process waits:
        then the work is done twice, which is only slower.

        Args:
            waiting: Called now and then while another process holds the lock, with the words for that one.
        """
        path = self._file(key).with_suffix(_LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = _lock(path, waiting)
        except OSError:
            yield
            return
        with file:
            try:
                yield
            finally:
                _let_go(file, path)

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key of a store")
        return self.folder / f"{key}{_ENDING}"

    def _clear(self) -> None:
        """Remove what processes that were killed have left: files that they wrote, and their locks."""
        if self._cleared:
            return
        self._cleared = True
        sweep_up(self.folder)
        for path in self.folder.glob(f"*{_LOCK}"):
            if _KEY.fullmatch(path.stem):
                with suppress(OSError), open_own(path) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _let_go(lock, path)

    def _make_room(self, limit: int, *, newest: Path) -> None:
        """Remove what was not used for longest; another process may remove the same.

        Where a clock was set back, what was used before seems to come from the future and would stay for as
        long as it was wrong: that counts as used now, and from now on it ages like the rest.
        """
        found, now = [], time.time_ns()
        with os.scandir(self.folder) as files:
            for file in files:
                if file.name.endswith(_ENDING):
                    with suppress(OSError):
                        facts = file.stat()
                        used = facts.st_mtime_ns
                        if used > now + _SKEW_NS:
                            used = now
                            os.utime(file.path, ns=(now, now))
                        found.append((used, facts.st_size, file.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= limit:
                return
            if path != str(newest):
                with suppress(OSError):
                    Path(path).unlink()
                total -= size


def _lock(path: Path, waiting: Callable[[str], None] | None) -> IO[bytes]:
    """Open and lock a file that its owner removes when done; raises OSError where it cannot be opened."""
    begin = time.monotonic()
    say_at = begin + SAY_SECONDS
    while True:
        file = open_own(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if waiting is not None and time.monotonic() >= say_at:
                waiting(owner_of(path))
                say_at = time.monotonic() + SAY_AGAIN_SECONDS
            time.sleep(POLL_SECONDS)
            continue
        except OSError:
            return file  # a file system without locks
        if _is_at(file, path):
            write_owner(file)
            return file
        file.close()  # its owner removed it between the two calls: it excludes no other process


def _let_go(file: IO[bytes], path: Path) -> None:
    """Remove a locked file. A process that opened it meanwhile sees that and opens a new one."""
    with suppress(OSError):
        if _is_at(file, path):
            path.unlink()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether an open file is the one that has its name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _content(entry: Entry) -> bytes:
    facts = np.frombuffer(json.dumps(entry.facts).encode(), dtype=np.uint8)
    tensors = {f"tensor/{name}": value.detach().cpu().contiguous() for name, value in entry.tensors.items()}
    body = save({_FACTS: torch.from_numpy(facts.copy()), **tensors})
    return _MAGIC + hashlib.sha256(body).digest() + body


def _parse(content: bytes) -> Entry | None:
    """Read a file's content; None where anything about it is wrong."""
    head = len(_MAGIC)
    checksum, body = content[head : head + 32], content[head + 32 :]
    if content[:head] != _MAGIC or hashlib.sha256(body).digest() != checksum:
        return None
    try:
        tensors: Mapping[str, Tensor] = load(body)
        facts = json_object(bytes(tensors[_FACTS].numpy()))
    except (SafetensorError, RuntimeError, struct.error, *DAMAGED):
        return None
    named = {name.removeprefix("tensor/"): value for name, value in tensors.items() if name != _FACTS}
    return Entry(facts, named)
