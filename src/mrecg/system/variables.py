"""Environment variables by which a command line reaches jobs in other processes, and OpenMP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

DEBUG = "MRECG_DEBUG"
"""Set to 1: errors show their traceback, above their line."""
COMMAND = "MRECG_COMMAND"
"""The command line as it was typed; what Hydra and its launchers see is another."""
SECRETS = "MRECG_SECRETS"
"""The URLs that masks stand for, see `mrecg.system.redaction`; never written to a file."""
WORKERS = "MRECG_WORKERS"
"""Number of jobs that share this machine: they divide its processors and GPUs."""

SPIN, SPINS = "GOMP_SPINCOUNT", "5000"
"""Time that threads of OpenMP, used by torch, wait busily for more work: some ten microseconds. By
default they do for about a millisecond, on the processors that our kernels' threads need then."""


def share_processors() -> None:
    """Let idle threads of OpenMP leave the processor, unless the user has chosen; before torch is loaded."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN, SPINS)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable inside the ``with`` block, and put back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
