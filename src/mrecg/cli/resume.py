"""Resume a run or a sweep from its folder; what is recorded there is data, not code."""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mrecg.errors import ConfigError

if TYPE_CHECKING:
    from mrecg.config.consent import Consent
    from mrecg.config.schema import RunConfig

STAND_IN = "mrecg-stand-in-"
"""Beginning of a folder's name that holds a link to another one."""
_OF_A_STORE = re.compile(r"\.?[a-z]+-[0-9a-f]{32}\.(entry|lock)(\.\w+)?")


@dataclass(frozen=True)
class Recorded:
    """A run that is resumed.

    Attributes:
        words: What was typed besides, and where Hydra is to write.
    """

    folder: Path
    config: "RunConfig"
    words: list[str]

    @property
    def values(self) -> Mapping[str, Any]:
        """The configuration as plain values."""
        from mrecg.config.validate import plain

        return plain(self.config)


def recorded(arguments: Sequence[str]) -> Recorded | None:
    """Read the run that ``resume=FOLDER`` names.

    Args:
        arguments: What follows the command.

    Returns:
        The run; None where no folder is named.

    Raises:
        ConfigError: It is not a run folder, or a sweep is asked for as well.
    """
    named = [word for word in arguments if word.startswith("resume=") and word[7:] not in ("auto", "never")]
    if not named:
        return None
    from mrecg.config.grammar import hydra_quoted, in_order, parsed
    from mrecg.runs.identity import read_config

    folder = Path(named[-1][7:])
    rest = [word for word in arguments if word not in named]
    if parsed(rest).multirun:
        raise ConfigError(f"resume={folder}: is one run, but -m asks for several; leave -m out")
    config = replace(read_config(folder), resume="auto", allow_import=False)
    # What Hydra kept of the first command line stays; a run of a sweep is resumed as a single run.
    own = (f"hydra.run.dir={hydra_quoted(folder)}", "hydra.mode=RUN", "hydra.output_subdir=null")
    return Recorded(folder, config, in_order(rest, *own))


def shell(path: Path | str, key: str = "") -> str:
    """Write a path so that it can be pasted into a shell as an argument.

    Args:
        key: What stands before it in the same word, for example ``resume=``.
    """
    text = str(path)
    return shlex.quote(key + text if key or not text.startswith("-") else f"./{text}")


@contextmanager
def stand_in(folder: Path) -> Iterator[Path]:
    """Give a folder a name in which Hydra finds nothing to resolve: it would, in the names of its log files.

    Yields:
        The folder itself, or a link to it for as long as the ``with`` block lasts.
    """
    if "${" not in str(folder.absolute()):
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=STAND_IN) as place:
        link = Path(place, "folder")
        link.symlink_to(folder.absolute())
        yield link


def strange_store(config: "RunConfig") -> bool:
    """Return whether a recorded configuration would share its results in a place that was not named.

    Args:
        config: The configuration, from a folder.

    Returns:
        False where the place is below the current folder, as it is by default, or is in use for that.
    """
    folder = config.shared.folder
    if folder is None or folder.resolve().is_relative_to(Path.cwd().resolve()):
        return False
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return True
    return not names or not all(map(_OF_A_STORE.fullmatch, names))


def unshared(config: "RunConfig") -> "RunConfig":
    """Take away a strange place, see `strange_store`: a run without it has the same outcome."""
    return replace(config, shared=replace(config.shared, folder=None)) if strange_store(config) else config


def say_unshared(where: Path, config: "RunConfig") -> None:
    """Say that nothing is shared, and how it would be."""
    shared = config.shared.folder
    sys.stderr.write(
        f"mrecg: {where}: names shared.folder={shared}, which no run has used yet; nothing is shared there "
        "(name it on the command line to use it)\n"
    )


def check_jobs(folder: Path, configs: Sequence["RunConfig"], consent: "Consent") -> None:
    """Look through the jobs of a recorded sweep before one of them starts.

    Args:
        configs: What they are going to run.
        consent: Whether the user trusts the sweep.

    Raises:
        ConfigError: A job asks for more than computing.
    """
    for config in configs:
        consent.to_run(config)
    strange = [config for config in configs if not consent.given and strange_store(config)]
    if strange:
        say_unshared(folder, strange[0])
