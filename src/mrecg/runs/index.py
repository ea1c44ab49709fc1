"""An index of run folders: what was read of their files, so that it is not read again."""

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mrecg.system.checked_read import open_regular, read_regular

INDEX = ".mrecg-index.sqlite"
"""Name of the index, in the folder that was named."""
FROM_RUNS = 200
"""Run folders from which on there is an index: a report over fewer takes some three seconds without."""

Read = Callable[[Path], bytes]
"""How a file of a run folder is read: `read_regular`, or through an index."""

_APPLICATION, _SCHEMA = 0x6D726567, 1
_MOST_BYTES = 1 << 25
_WAITING = 500
_RACY_NS = 2_000_000_000
_TABLE = (
    "CREATE TABLE files (path BLOB PRIMARY KEY, modified INTEGER NOT NULL, changed INTEGER NOT NULL, "
    "size INTEGER NOT NULL, digest BLOB NOT NULL, content BLOB NOT NULL) WITHOUT ROWID"
)
_ENDINGS = ("", "-journal", "-wal", "-shm")
_BROKEN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

Signature = tuple[int, int, int]
"""Times of the last change of content and of the file's entry in nanoseconds, and its bytes."""


class Index:
    """Reads files below a folder, each from the index while it has not changed since it was read.

    A file counts as unchanged while its two times and its size are those of the row; a row has a digest of
    all that it says, so neither a damaged index nor one of another folder can give a wrong content. Whatever
    is wrong with the index, files are read as if there were none. Paths are relative to the folder, which
    may be moved. Several processes may use one index: SQLite locks it, with a journal that is deleted, since
    a write-ahead log needs shared memory, which network file systems do not have.

    Args:
        folder: The folder; it need not be writable.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / INDEX
        self.prefix = f"{folder}{os.sep}"
        self._new: list[tuple[object, ...]] = []
        self._base = self._open()

    @property
    def works(self) -> bool:
        """Whether it has an index."""
        return self._base is not None

    def holds(self, file: Path) -> bool:
        """Whether a file lies below the folder."""
        return str(file).startswith(self.prefix)

    def read(self, file: Path) -> bytes:
        """Read a file.

        Args:
            file: Below the folder.

        Returns:
            What is in it now.

        Raises:
            OSError: As when it is read without an index.
        """
        if self._base is None:
            return read_regular(file)
        key = os.fsencode(str(file)[len(self.prefix) :])
        signature = _signature(file.stat())
        content = self._known(key, signature)
        return self._fresh(file, key) if content is None else content

    def forget(self, kept: Iterable[Path]) -> None:
        """Drop the rows of run folders that are gone.

        Args:
            kept: The run folders that are there.
        """
        if self._base is None:
            return
        runs = {os.fsencode(str(run)[len(self.prefix) :]) for run in kept}
        with _Guard(self):
            listed = self._base.execute("SELECT path FROM files").fetchall()
            gone = [(path,) for (path,) in listed if not _has_folder(path, runs)]
            if gone:
                self._write("DELETE FROM files WHERE path = ?", gone)

    def close(self) -> None:
        """Write what is new, and let go of the file."""
        self._flush()
        if self._base is not None:
            self._base.close()
            self._base = None

    def _known(self, key: bytes, signature: Signature) -> bytes | None:
        """The content in the index, where the file is the same and the row is whole."""
        row = None
        with _Guard(self):
            assert self._base is not None
            row = self._base.execute(
                "SELECT digest, content FROM files "
                "WHERE path = ? AND modified = ? AND changed = ? AND size = ?",
                (key, *signature),
            ).fetchone()
        if row is None or not all(isinstance(value, bytes) for value in row):
            return None
        digest, packed = row
        if digest != _digest(key, signature, packed):
            return None
        try:
            content = zlib.decompress(packed)
        except zlib.error:
            return None
        return content if len(content) == signature[2] else None

    def _fresh(self, file: Path, key: bytes) -> bytes:
        """Read the file itself, and keep it where it is certain that this is all of it."""
        with open_regular(file) as stream:
            before = _signature(os.fstat(stream.fileno()))
            content = stream.read()
            after = _signature(os.fstat(stream.fileno()))
        # What was written a moment ago may be written again within one tick of the file system's clock.
        settled = time.time_ns() - max(before[:2]) > _RACY_NS
        if before == after and settled and len(content) == after[2] <= _MOST_BYTES:
            packed = zlib.compress(content, 1)
            self._new.append((key, *after, _digest(key, after, packed), packed))
            if len(self._new) >= _WAITING:
                self._flush()
        return content

    def _flush(self) -> None:
        rows, self._new = self._new, []
        if rows and self._base is not None:
            with _Guard(self):
                self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        assert self._base is not None
        self._base.execute("BEGIN IMMEDIATE")
        try:
            self._base.executemany(statement, rows)
            self._base.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection | None:
        """Open the index, or make it; None where there can be none."""
        for _ in range(2):
            if self.file.exists() and not self.file.is_file():
                return None
            if any(Path(f"{self.file}{ending}").is_symlink() for ending in _ENDINGS):
                return None  # SQLite would write through it
            try:
                return _connect(self.file)
            except sqlite3.Error as error:
                if not _is_broken(error) or not self._remove():
                    return None
        return None

    def give_up(self, error: sqlite3.Error) -> None:
        """Continue without the index; a broken one is removed, so that the next process makes a new one.

        Args:
            error: What SQLite said.
        """
        if self._base is not None:
            with suppress(sqlite3.Error):
                self._base.close()
        self._base = None
        if _is_broken(error):
            self._remove()

    def _remove(self) -> bool:
        try:
            self.file.with_name(f"{INDEX}-journal").unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)
        except OSError:
            return False
        return True


class _Guard:
    """Nothing that SQLite says stops a report: a full disk, a lock held too long, a broken file."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, sqlite3.Error):
            self.index.give_up(error)
            return True
        return False


def _connect(file: Path) -> sqlite3.Connection | None:
    """Open the file; None where it belongs to another program, or to a later version of this one."""
    base = sqlite3.connect(file, timeout=10, isolation_level=None)
    try:
        ours, version = _state(base)
        if not ours or version > _SCHEMA:
            base.close()
            return None
        # What a crash of the machine destroys is found by the digests, and is only read again.
        base.execute("PRAGMA synchronous = OFF")
        if version < _SCHEMA:
            base.execute("BEGIN IMMEDIATE")
            if _state(base)[1] < _SCHEMA:  # another process may have been first
                base.execute("DROP TABLE IF EXISTS files")
                base.execute(_TABLE)
                base.execute(f"PRAGMA application_id = {_APPLICATION}")
                base.execute(f"PRAGMA user_version = {_SCHEMA}")
            base.execute("COMMIT")
        base.execute("SELECT path, modified, changed, size, digest, content FROM files LIMIT 1").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base


def _state(base: sqlite3.Connection) -> tuple[bool, int]:
    """Whether a database is ours or empty, and the version of its table; 0: none yet."""
    (application,) = base.execute("PRAGMA application_id").fetchone()
    (version,) = base.execute("PRAGMA user_version").fetchone()
    (tables,) = base.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application == _APPLICATION or (application == 0 and tables == 0), version if tables else 0


def _is_broken(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _BROKEN


def _signature(found: os.stat_result) -> Signature:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _digest(key: bytes, signature: Signature, packed: bytes) -> bytes:
    made = hashlib.blake2b(repr((key, signature)).encode(), digest_size=8)
    made.update(packed)
    return made.digest()


def _has_folder(path: bytes, folders: set[bytes]) -> bool:
    """Whether one of the folders holds a path, at any depth."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        if path in folders:
            return True
    return False
