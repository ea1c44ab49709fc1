"""To go on with a run or a sweep from its folder: what is recorded there is data, whoever has made it."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrecg.errors import ConfigError

if TYPE_CHECKING:
    from mrecg.config.consent import Consent
    from mrecg.config.schema import RunConfig

_OF_A_SHELF = re.compile(r"\.?[a-z]+-[0-9a-f]{32}\.(entry|lock)(\.\w+)?")


@dataclass(frozen=True)
class Recorded:
    """A run that is gone on with.

    Attributes:
        folder: Its folder.
        config: Its own configuration.
        words: What was typed besides, and where Hydra is to write.
    """

    folder: Path
    config: "RunConfig"
    words: list[str]

    @property
    def values(self) -> Mapping[str, Any]:
        """The configuration as plain values."""
        from mrecg.config.build import plain

        return plain(self.config)


def recorded(arguments: Sequence[str]) -> Recorded | None:
    """Read the run that ``resume=FOLDER`` names.

    Args:
        arguments: What follows the verb.

    Returns:
        The run; None where no folder is named.

    Raises:
        ConfigError: It is no run folder, or a sweep is asked for as well.
    """
    named = [word for word in arguments if word.startswith("resume=") and word[7:] not in ("auto", "never")]
    if not named:
        return None
    from mrecg.config.grammar import hydra_quoted, in_order, parsed
    from mrecg.config.identity import read_config

    folder = Path(named[-1][7:])
    rest = [word for word in arguments if word not in named]
    if parsed(rest).multirun:
        raise ConfigError(f"resume={folder}: is one run, and -m asks for several; leave -m out")
    config = replace(read_config(folder), resume="auto", allow_import=False)
    # What Hydra has kept of the first command line stays, and whatever sweep it belonged to, this is one run.
    own = (f"hydra.run.dir={hydra_quoted(folder)}", "hydra.mode=RUN", "hydra.output_subdir=null")
    return Recorded(folder, config, in_order(rest, *own))


def shell(path: Path | str, key: str = "") -> str:
    """Write a path so that it can be pasted into a shell as an argument.

    Args:
        path: The path.
        key: What stands before it in the same word, for example ``resume=``.

    Returns:
        The word.
    """
    text = str(path)
    return shlex.quote(key + text if key or not text.startswith("-") else f"./{text}")


def strange_shelf(config: "RunConfig") -> bool:
    """Whether a recorded configuration would share its results in a place that nobody has named.

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
    return not names or not all(map(_OF_A_SHELF.fullmatch, names))


def unshared(config: "RunConfig") -> "RunConfig":
    """Take away a strange place, see `strange_shelf`: a run without it has the same outcome."""
    return replace(config, shared=replace(config.shared, folder=None)) if strange_shelf(config) else config


def say_unshared(where: Path, config: "RunConfig") -> None:
    """Say that nothing is shared, and how it would be."""
    shared = config.shared.folder
    sys.stderr.write(
        f"mrecg: {where}: names shared.folder={shared}, which no run has used yet; nothing is shared there "
        "(name it on the command line to use it)\n"
    )


def sweep(folder: Path, *, allow_import: bool, config_dir: Path | None) -> None:
    """Go on with a sweep.

    Args:
        folder: The sweep's folder.
        allow_import: Whether the user trusts what it names.
        config_dir: A folder of configurations that the user has named.

    Raises:
        MrecgError: It is no sweep, or asks for what the user has not allowed.
    """
    from mrecg.config.consent import Consent
    from mrecg.config.grammar import hydra_quoted
    from mrecg.config.words import believed
    from mrecg.sweep.manifest import read_command, read_jobs, read_launch
    from mrecg.verbs.run import run, run_recorded

    consent = Consent(str(folder), allow_import, how="--allow-import")
    verb, words = read_command(folder)
    launch, jobs = read_launch(folder), read_jobs(folder)
    flags = ["-m", *(() if config_dir is None else ("-cd", str(config_dir)))]
    place = f"hydra.sweep.dir={hydra_quoted(folder)}"
    if launch.sweeper == "grid" and jobs and all(job.config is not None for job in jobs):
        typed = [word for word in words if word.lstrip("+~").startswith("hydra") and "sweeper" not in word]
        own = believed([*launch.launcher, *typed], consent)
        run_recorded([*flags, *own, place], folder, jobs, consent)
        return
    if launch.config_dir is not None and config_dir is None:
        if not consent.given:
            raise ConfigError(
                f"{folder}: was begun with the configurations in {launch.config_dir}; "
                f"if you trust them, add -cd {shell(launch.config_dir)}"
            )
        flags += ["-cd", launch.config_dir]
    run(verb, [*flags, *believed(words, consent), place], consent=consent)


def check_jobs(folder: Path, configs: Sequence["RunConfig"], consent: "Consent") -> None:
    """Look through the jobs of a recorded sweep before one of them starts.

    Args:
        folder: The sweep's folder.
        configs: What they are going to run.
        consent: Whether the user trusts the sweep.

    Raises:
        ConfigError: A job asks for more than computing.
    """
    for config in configs:
        consent.to_run(config)
    strange = [config for config in configs if not consent.given and strange_shelf(config)]
    if strange:
        say_unshared(folder, strange[0])
