"""The W&B account of this machine, read from where W&B looks, without importing it."""

import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

PUBLIC_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")
"""Under which names ``wandb login`` keeps a key for the public server: since wandb 0.31, and before."""


def has_key() -> bool:
    """Return whether there is an API key, in the environment or in the file that ``wandb login`` writes.

    W&B itself would ask for one on a terminal.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    base = os.environ.get("WANDB_BASE_URL")
    hosts = [urlsplit(base).hostname or ""] if base else PUBLIC_HOSTS
    named = os.environ.get("NETRC")
    files = [Path(named).expanduser()] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    return any(file.is_file() and any(host in _machines(file) for host in hosts) for file in files)


def server() -> str:
    """Return the name of the W&B server for a message."""
    return os.environ.get("WANDB_BASE_URL", "W&B")


def _machines(file: Path) -> set[str]:
    try:
        return set(netrc.netrc(str(file)).hosts)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return set()
