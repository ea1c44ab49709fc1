"""A small disk of one's own, and the command line in a process of its own."""

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_SKIPPED = 77


class RefusedError(Exception):
    """The system does not let us mount anything."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line on standard error."""
        return self.err.splitlines()[-1]

    @property
    def told(self) -> list[str]:
        """All lines that are neither progress nor the title."""
        return [line for line in self.err.splitlines() if not line.startswith(("  ", "run: "))]


def alone(play: Callable[[], None]) -> None:
    """Play a scene in a process that may mount what nobody else sees; all is gone with it.

    Args:
        play: The scene; what it raises fails the test.
    """

    def enter() -> int:
        try:
            _own_mounts()
            play()
        except RefusedError as error:
            os.write(2, str(error).encode())
            return _SKIPPED
        except BaseException:  # a copy of pytest must not go on behind this
            os.write(2, traceback.format_exc().encode())
            return 1
        return 0

    code, _, err = _forked(enter)
    if code == _SKIPPED:
        pytest.skip(f"no mounts here: {err}")
    if code:
        pytest.fail(err, pytrace=False)


def mrecg(*words: str, out: str | None = None, before: Callable[[], object] = lambda: None) -> Ended:
    """Call the command line in a process of its own, which takes no time for imports.

    Args:
        words: Behind ``mrecg``.
        out: A file to be standard output; None: it is kept.
        before: Called first.

    Returns:
        How it ended.
    """
    from mrecg.cli.main import main

    def enter() -> int:
        before()
        try:
            main(words)
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    return _forked(enter, out=out)


def tmpfs(folder: Path, size: str) -> None:
    """Mount a disk in memory; only inside of `alone`."""
    folder.mkdir(exist_ok=True)
    _mount("tmpfs", folder, "tmpfs", 0, f"size={size},mode=777")


def resize(folder: Path, size: str, *, read_only: bool = False) -> None:
    """Give a disk in memory another size, or let nobody write to it."""
    _mount("tmpfs", folder, "tmpfs", _REMOUNT | (_READ_ONLY if read_only else 0), f"size={size}")


def freeze_everything() -> None:
    """Let nobody write to the file system that holds everything but what was mounted."""
    _mount("none", Path("/"), None, _REMOUNT | _BIND | _READ_ONLY, None)


def _own_mounts() -> None:
    if not sys.platform.startswith("linux"):
        raise RefusedError("needs Linux")
    library = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if library.unshare(_NEW_MOUNTS):
        if library.unshare(_NEW_USER | _NEW_MOUNTS):
            raise RefusedError(f"unshare: {os.strerror(ctypes.get_errno())}")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), None, _RECURSIVE | _PRIVATE, None)


def _mount(source: str, folder: Path, kind: str | None, flags: int, data: str | None) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    words: list[Any] = [source, str(folder), kind, data]
    first, second, third, last = (word and word.encode() for word in words)
    if library.mount(first, second, third, ctypes.c_ulong(flags), last):
        raise RefusedError(f"mount {folder}: {os.strerror(ctypes.get_errno())}")


def _forked(enter: Callable[[], int], *, out: str | None = None) -> Ended:
    kept = [os.memfd_create(name) for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        _play(enter, kept, out)
    _, status = os.waitpid(child, 0)
    texts = []
    for file in kept:
        os.lseek(file, 0, os.SEEK_SET)
        with os.fdopen(file, encoding="utf-8", errors="replace") as stream:
            texts.append(stream.read())
    return Ended(os.waitstatus_to_exitcode(status), *texts)


def _play(enter: Callable[[], int], kept: list[int], out: str | None) -> NoReturn:
    """Be the child: it never comes back to pytest."""
    code = 70
    try:
        os.dup2(kept[0] if out is None else os.open(out, os.O_WRONLY), 1)
        os.dup2(kept[1], 2)
        sys.stdout, sys.stderr = (open(i, "w", encoding="utf-8", closefd=False) for i in (1, 2))  # noqa: SIM115
        code = enter()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(code)
