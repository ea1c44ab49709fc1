"""Compilation of kernels, and division of their work among threads."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Let what is imported inside the ``with`` block not find a module."""
    before = {name: sys.modules[name]} if name in sys.modules else {}
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


# Where it finds colorama, numba replaces sys.stdout and writes an escape code at the end of the process.
with _without("colorama"):
    import numba

CHUNK = 4096
"""Elements that are summed before a partial sum is written: sums do not depend on the number of threads."""
GRAIN = 32
"""Chunks a thread takes, at least; less is not worth waking it."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function of arrays that runs without Python's lock.

    Contractions and reordered sums are allowed; divisions stay exact and NaNs stay NaNs.
    """
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "nsz", "reassoc"},
    }
    try:
        made = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place to keep it, neither beside the file nor in the user's folder
        return numba.njit(**options)(function)
    if save := getattr(getattr(made, "_cache", None), "save_overload", None):

        def save_if_there_is_room(*compiled: Any) -> None:
            # Numba would end the run, which has what it needs.
            with suppress(OSError), _alone(Path(made._cache.cache_path)):
                save(*compiled)

        made._cache.save_overload = save_if_there_is_room
    return made


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other process save at the same time.

    Numba reads its index, chooses a name and writes both index and code. Two processes at once choose the
    same name, and the index may then lead the arguments of one to the code of the other, which writes out of
    bounds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function into every kernel that calls it."""
    return numba.njit(inline="always", error_model="numpy")(function)


@inline
def part(array: Any, chunk: Any) -> Any:
    """A chunk of an array. Indices into it start at 0, which lets the compiler drop checks and vectorise."""
    return array[chunk * CHUNK : min((chunk + 1) * CHUNK, array.size)]


def chunks(size: int) -> int:
    """Number of chunks of an array."""
    return (size + CHUNK - 1) // CHUNK


def divide(run: Callable[[int, int], object], count: int, *, grain: int = GRAIN) -> None:
    """Divide pieces of work among torch's number of threads.

    Args:
        run: Does the pieces from its first argument up to, not including, its second.
        grain: Pieces a thread takes, at least.
    """
    threads = min(torch.get_num_threads(), count // max(1, grain))
    if threads < 2:
        run(0, count)
        return
    edges = [count * i // threads for i in range(threads + 1)]
    waiting = [_pool(threads - 1).submit(run, a, b) for a, b in pairwise(edges[1:])]
    run(edges[0], edges[1])
    for task in waiting:
        task.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mrecg-kernel")
