"""W&B's own process, where it does not answer."""

import os
from contextlib import suppress
from typing import Any


def abandon(*, dead_only: bool = False) -> bool:
    """End W&B's process and forget it; what it has written stays.

    W&B waits for this process without a limit, also when the interpreter exits, and it has no way to be told
    not to: hence its inner names, which are looked at nowhere else. Where they are missing, nothing is done.

    Args:
        dead_only: Leave it alone where it still runs: other errors than its death are not its fault.

    Returns:
        Whether there was a process to forget, or at least the address of one: the environment has that of
        the process that W&B started first, also when nothing is left there.
    """
    with suppress(Exception):
        from wandb import env
        from wandb.sdk import wandb_setup
        from wandb.sdk.lib.service import service_token

        setup: Any = wandb_setup._singleton
        connection: Any = None if setup is None else setup._connection
        # None: the process belongs to the one that started us.
        process = None if connection is None or connection._proc is None else connection._proc._process
        if dead_only and connection is not None and (process is None or process.poll() is None):
            return False
        known = connection is not None or bool(os.environ.get(env.SERVICE))
        wandb_setup._singleton = None
        service_token.clear_service_in_env()  # the next run begins with a new process
        if process is not None:
            connection._cleanup()  # what would wait at exit
            process.kill()
            process.wait(timeout=5)
        return known
    return False
