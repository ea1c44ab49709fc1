"""Shell completion: Hydra's own for its commands, and the arguments of the others."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from mrecg.errors import ConfigError

OTHERS = {
    "export": ("format=onnx", "format=onnx_int8", "format=pt2", "format=packed", "opset=", "images=", "out="),
    "report": ("--out", "--picture", "--figures", "--width", "--label", "--json", "--markdown", "--all"),
    "sweep": ("status", "resume", "--all", "--json", "--allow-import"),
    "dashboard": ("--entity", "--project", "--out", "--offline", "--apply"),
    "doctor": (),
}
"""Arguments of the commands that are not Hydra's; shells complete folders by themselves."""


def complete(words: Sequence[str], verbs: Sequence[str]) -> None:
    """Install completion, or answer one request of the shell.

    Args:
        words: The words after ``mrecg``, with ``-sc install=SHELL``, ``uninstall=SHELL`` or ``query=SHELL``.
        verbs: The commands, which are offered as the first word.

    Raises:
        ConfigError: It is none of the three. A request that cannot be answered is answered by nothing: what
            is printed would stand in the prompt.
    """
    if any(word.startswith("query=") for word in words):
        sys.stdout.write(" ".join(dict.fromkeys(_answer(words, verbs))) + "\n")
        return
    if not any(word.startswith(("install=", "uninstall=")) for word in words):
        raise ConfigError("-sc: give install=SHELL or uninstall=SHELL, with bash, zsh or fish")
    _ask_hydra(words)


def _answer(words: Sequence[str], verbs: Sequence[str]) -> Iterator[str]:
    line = os.environ.get("COMP_LINE", "")
    typed = line.split(" ")
    if len(typed) <= 2:
        start = typed[1] if len(typed) == 2 else ""
        yield from (verb for verb in verbs if verb.startswith(start))
        return
    last = typed[-1]
    if typed[1] in OTHERS:
        yield from (word for word in OTHERS[typed[1]] if word.startswith(last))
        return
    yield from _choices(last, typed)
    # Hydra knows no commands: pass it the line without.
    os.environ["COMP_LINE"] = " ".join([typed[0], *typed[2:]])
    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(StringIO()):
            _ask_hydra(words)
    except (Exception, SystemExit):  # of a line that is not finished
        return
    yield from said.getvalue().split()


def _choices(last: str, typed: Sequence[str]) -> Iterator[str]:
    """Complete what Hydra cannot: the values of a key, and the choices in the user's own folders."""
    from mrecg.cli.help import closed_sets, own_folders
    from mrecg.config.paths import choices

    key, mark, _ = last.partition("=")
    if not mark:
        return
    found = [word for name, words in closed_sets() if name == key for word in words]
    own = own_folders(typed)
    found += choices(key, own) if own else []
    yield from (word for word in (f"{key}={value}" for value in found) if word.startswith(last))


def _ask_hydra(words: Sequence[str]) -> None:
    from mrecg.cli.quantize import Job
    from mrecg.config import hydra_compose

    hydra_compose.run(Job("quantize"), words)
