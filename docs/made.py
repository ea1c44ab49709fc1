"""What the programs that make pages or parts of them share: the check and the command line."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mrecg.errors import DataError, MrecgError


def refuse_changed(pages: Iterable[Path], made: Callable[[Path], str], says: str) -> None:
    """Refuse a page that writing would change.

    Args:
        made: Makes the text of a page.
        says: What it is made of, and the command that makes it.

    Raises:
        DataError: A page is another one; names it.
    """
    for file in pages:
        if made(file) != file.read_text(encoding="utf-8"):
            raise DataError(f"{file} is not what {says}")


def run(commands: Mapping[str, Callable[[], None]]) -> None:
    """Run the command that is named on the command line."""
    name = " ".join(sys.argv[1:])
    if name not in commands:
        sys.exit(f"usage: python docs/{Path(sys.argv[0]).name} {'|'.join(commands)}")
    try:
        commands[name]()
    except MrecgError as error:
        sys.exit(f"error: {error}")
