"""Where the config files are: inside an installed package, or at the top of a checkout."""

from collections.abc import Iterable, Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(
    path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if (path / "config.yaml").is_file()
)
"""The folder of Hydra's groups."""


def choices(group: str, own: Iterable[Path | str] = ()) -> Iterator[str]:
    """Names of the files of a config group.

    Args:
        group: For example ``bits`` or ``hydra/launcher``; empty for the groups themselves.
        own: Folders with groups of the user's, as of ``--config-dir``.

    Yields:
        The names, sorted, each once.
    """
    names: set[str] = set()
    for folder in (CONF / group, *(Path(root) / group for root in own)):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == ".yaml" if group else path.is_dir():
                names.add(path.stem if group else path.name)
    yield from sorted(names)
