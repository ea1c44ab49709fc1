"""A page or table that fails says nothing against the runs that it was to show."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def only_a_warning(folder: Path) -> Iterator[None]:
    """Show runs that have ended: whatever goes wrong with that changes nothing about how they did.

    Args:
        folder: The run folder, or that of a sweep.

    Yields:
        Nothing; an error in the block becomes one line, by which the page can be written later.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        log.warning(
            "%s: its page or table could not be made (%s), no result is touched; mrecg report %s shows them",
            folder,
            reason,
            shlex.quote(str(folder)),
        )
