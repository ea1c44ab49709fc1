"""Environment variables by which a command line reaches jobs in other processes, and OpenMP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

DEBUG = "MRECG_DEBUG"
"""Set it to 1 to see the traceback of an error above its line."""
COMMAND = "MRECG_COMMAND"
"""Set by mrecg: the command line as it was typed, for jobs in other processes."""
SECRETS = "MRECG_SECRETS"
"""Set by mrecg: the URLs with passwords that masks in configurations stand for. Never written to a file."""
WORKERS = "MRECG_WORKERS"
"""Set by mrecg: the number of jobs that share this machine and divide its processors and GPUs."""

SPIN, SPINS = "GOMP_SPINCOUNT", "5000"
"""How long idle threads of OpenMP, which torch uses, keep their processor. The command line sets 5000 (some
ten microseconds) unless it is set: by default they keep it for a millisecond, and our kernels need it."""


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
