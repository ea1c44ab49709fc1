"""A model whose making goes well, fails, or kills its process: for tests of what launches jobs."""

import os
import signal
import time
from pathlib import Path

import tiny_net
from torch import nn


def build(fate: str, marks: str) -> nn.Module:
    """Build the tiny network, or do not.

    Every call leaves a line in the file ``marks/fate``. ``fine...`` builds it, ``slow...`` after a second,
    ``fail`` raises, ``once`` kills the process in its first call only, ``always`` in each.
    """
    file = Path(marks, fate)
    calls = len(file.read_text().splitlines()) if file.exists() else 0
    with file.open("a") as stream:
        stream.write(f"{os.getpid()} {os.environ.get('MRECG_WORKERS', '')} {Path.cwd()}\n")
    if fate == "fail":
        raise ValueError("this model cannot be made")
    if fate == "always" or (fate == "once" and not calls):
        os.kill(os.getpid(), signal.SIGKILL)
    if fate.startswith("slow"):
        time.sleep(1)
    return tiny_net.build(classes=3)
