"""Shortages that end a run with valid settings: no room, no permission, no memory.

Each becomes one line that says where it happened, at which stage, and how to continue.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mrecg.config.schema import MERGING, RunConfig
from mrecg.errors import FULL, ConfigError, RunError, allocator_says, out_of_memory
from mrecg.reconstruct.events import Broadcast, GroupResult, Listener, Silent
from mrecg.track.terminal import Advance, Display

_REMEDY = {
    **dict.fromkeys(FULL, "make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk"),
}


class Whereabouts(Silent):
    """Remembers what a run is doing, and passes it on to the display.

    Attributes:
        stage_name: The stage; it stays when the stage ends by an error.
        group_name: The group that is optimised; empty before its steps begin and after they end.
    """

    def __init__(self, display: Display) -> None:
        self.display = display
        self.stage_name = self.group_name = ""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """Show one stage."""
        self.stage_name = name
        with self.display.stage(name, total) as advance:
            yield advance
        self.stage_name = ""

    def note(self, text: str) -> None:
        """Say one line."""
        self.display.note(text)

    @contextmanager
    def reconstruction(
        self, name: str, *, lines: bool = True, block_wise: Mapping[str, float] | None = None
    ) -> Iterator[Listener]:
        """Show a reconstruction."""
        self.stage_name = name
        with self.display.reconstruction(name, lines=lines, block_wise=block_wise) as listener:
            yield Broadcast(self, listener)
        self.stage_name = ""

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """The steps of a group begin."""
        self.group_name = name

    def finished(self, result: GroupResult) -> None:
        """A group is through."""
        self.group_name = ""

    def __str__(self) -> str:
        """For example ``reconstruct, group features.3+features.4``; empty where nothing is known."""
        return ", group ".join(filter(None, (self.stage_name, self.group_name)))


def shortage(
    error: Exception, config: RunConfig, folder: Path, during: Whereabouts, *, go_on: str
) -> RunError | None:
    """Say in a user's words what a run has run out of.

    Args:
        go_on: How to resume it, for example ``resume=FOLDER``.

    Returns:
        The error to raise in its place; None where it is something else.
    """
    stage = f" during {during}" if str(during) else ""
    kept = "what is finished is kept"
    if out_of_memory(error):
        return RunError(
            f"out of memory{stage} ({allocator_says(error)}); {kept}: free memory{_smaller_cache(config)}, "
            f"and continue with {go_on}; or start again with {_less(config)}"
        )
    cause = error.__cause__
    if isinstance(error, ConfigError) and isinstance(cause, OSError) and cause.errno in FULL:  # the cache's
        return RunError(f"{error}; {kept}: continue with {go_on}")
    if isinstance(error, RunError) and isinstance(cause, OSError):  # the run's own store, which knows less
        error = cause
    if not isinstance(error, OSError) or (remedy := _REMEDY.get(error.errno or 0)) is None:
        return None
    named = Path(str(error.filename)) if error.filename else folder
    inside = named.absolute().is_relative_to(folder.absolute())
    if error.errno not in FULL and not inside:
        return None  # what cannot be read says so itself
    where = folder if inside else named
    reason = error.strerror or str(error)
    return RunError(
        f"{where}: cannot be written to ({reason}){stage}; {kept}: {remedy}, and continue with {go_on}"
    )


def _smaller_cache(config: RunConfig) -> str:
    """Name the settings that take memory and do not change the result."""
    return "" if config.cache.device == "disk" else ", or set cache.device=disk or a smaller cache.budget_mb"


def _less(config: RunConfig) -> str:
    """Name the settings that take memory and change the result."""
    settings = [
        f"less than trainer.batch_size={config.trainer.batch_size}",
        f"data.batch_size={config.data.batch_size}",
        f"data.calibration_images={config.data.calibration_images}",
    ]
    if config.granularity.name in MERGING:
        settings.append("smaller groups (granularity=block)")
    return " or ".join([", ".join(settings[:-1]), settings[-1]])
