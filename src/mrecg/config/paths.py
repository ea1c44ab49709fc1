"""Where the config files are: inside an installed package, or at the top of a checkout."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mrecg.config.validate import plain
from mrecg.errors import ConfigError
from mrecg.methods.registry import METHODS
from mrecg.registry import CRITERIA, DATA

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(
    path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if (path / "config.yaml").is_file()
)
"""The folder of Hydra's groups."""
OTHERS = {"method": METHODS, "planner": CRITERIA, "data": DATA}
"""Groups to which other packages add choices, without files."""


def choices(group: str, own: Iterable[Path | str] = ()) -> list[str]:
    """Names of the files of a config group.

    Args:
        group: For example ``bits`` or ``hydra/launcher``; empty for the groups themselves.
        own: Folders with groups of the user's, as of ``--config-dir``.

    Returns:
        The names, sorted, each once.
    """
    if group:
        others = OTHERS[group].others() if group in OTHERS else ()
        return sorted({*files(group, own), *others})
    roots = [root for root in map(Path, (CONF, *own)) if root.is_dir()]
    return sorted({path.name for root in roots for path in root.iterdir() if path.is_dir()})


def files(group: str, own: Iterable[Path | str] = ()) -> dict[str, Path]:
    """Find the files of a config group.

    Args:
        group: For example ``bits``.
        own: Folders with groups of the user's, which come before ours.

    Returns:
        The files by the names of the choices.
    """
    folders = [Path(root) / group for root in (CONF, *reversed(list(own)))]
    return {path.stem: path for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")}


def brought() -> Iterator[tuple[str, dict[str, Any]]]:
    """List the choices that other packages and scripts bring; they need no files of their own.

    Yields:
        A config group, and the values of the choice. A package that cannot be loaded brings nothing: what is
        wrong with it is said where its name is chosen.
    """
    for name in METHODS.others():
        with suppress(ConfigError):
            yield "method", plain(METHODS.get(name).settings())
    yield from (("planner", {"name": name}) for name in CRITERIA.others())
    yield from (("data", {"source": name, "name": name}) for name in DATA.others())
