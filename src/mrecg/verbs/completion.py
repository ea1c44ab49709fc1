"""Shell completion: Hydra's own, behind the verb."""

import os
import sys
from collections.abc import Sequence


def complete(words: Sequence[str], verbs: Sequence[str]) -> None:
    """Install completion, or answer one request of the shell.

    Args:
        words: The words behind ``mrecg``, with ``-sc install=SHELL``, ``uninstall=SHELL`` or ``query=SHELL``.
        verbs: The verbs, which are offered as the first word.
    """
    from mrecg.config import compose
    from mrecg.verbs.run import Job

    line = os.environ.get("COMP_LINE", "")
    if any(word.startswith("query=") for word in words):
        typed = line.split(" ")
        if len(typed) <= 2:
            start = typed[1] if len(typed) == 2 else ""
            sys.stdout.write(" ".join(verb for verb in verbs if verb.startswith(start)) + "\n")
            return
        # Hydra knows no verbs: show it the line without.
        os.environ["COMP_LINE"] = " ".join([typed[0], *typed[2:]])
    compose.run(Job("quantize"), words)
