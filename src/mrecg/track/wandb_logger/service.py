"""W&B's own process, where it does not answer."""

from contextlib import suppress
from typing import Any


def abandon(*, dead_only: bool = False) -> None:
    """End W&B's process and forget it; what it has written stays.

    W&B waits for this process without a limit, also when the interpreter exits, and it has no way to be told
    not to: hence its inner names, which are looked at nowhere else. Where they are missing, nothing is done.

    Args:
        dead_only: Leave it alone where it still runs: other errors than its death are not its fault.
    """
    with suppress(Exception):
        from wandb.sdk import wandb_setup
        from wandb.sdk.lib.service import service_token

        setup: Any = wandb_setup._singleton
        process = _process(setup)
        if dead_only and (process is None or process.poll() is None):
            return
        wandb_setup._singleton = None  # the next run begins with a new process
        if process is None:  # it belongs to the process that started us
            return
        service_token.clear_service_in_env()
        setup._connection._cleanup()  # what would wait at exit
        process.kill()
        process.wait(timeout=5)


def _process(setup: Any) -> Any:
    """W&B's process, as far as it is ours to end."""
    connection = None if setup is None else setup._connection
    return None if connection is None or connection._proc is None else connection._proc._process
