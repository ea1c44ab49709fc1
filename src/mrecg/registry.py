"""Registries: what can be added from outside, each thing by its name.

Methods, criteria, export formats and sources of images. A name belongs to this package, to an installed one
(which lists the module that registers it under an entry point), or to a script that has registered it. A
module is imported when its name is first used; those of methods also when a command line is composed, because
their keys belong to it.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from mrecg.errors import ConfigError, one_of

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Registry(Generic[T]):
    """Things of one kind by their names.

    Args:
        kind: What they are, for messages: ``method``.
        group: The group of entry points by which installed packages add some: ``mrecg.methods``.
        own: The modules of this package that register some, by name, in the order of `names`.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str]) -> None:
        self.kind, self.group, self._own = kind, group, dict(own)
        self._things: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """All names: this package's, those of installed packages, and those that a script has registered."""
        return tuple(dict.fromkeys([*self._own, *sorted(_installed(self.group)), *self._things]))

    def others(self) -> tuple[str, ...]:
        """The names that are not this package's."""
        return self.names()[len(self._own) :]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def add(self, name: str, thing: T) -> T:
        """Register a thing.

        Args:
            name: Lower-case letters, digits and underscores.
            thing: What the name stands for. What the same script or package has registered under the name
                before is replaced, as when a notebook's cell runs again.

        Raises:
            ConfigError: The name is no name, or one of this package's.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{self.kind}: {name!r} is no name; take lower-case letters, digits and underscores"
            )
        if name in self._own:
            import_module(self._own[name])  # registers it, unless it is doing so now
            if name in self._things:
                raise ConfigError(f"{self.kind}: {name} is one of mrecg's own; choose another name")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """Find a thing, and import the module that registers it.

        Raises:
            ConfigError: There is none of that name, or its package cannot be loaded.
        """
        if name not in self._things:
            if name in self._own:
                import_module(self._own[name])
            elif name in _installed(self.group):
                self._load(_installed(self.group)[name])
            else:
                raise one_of(self.kind, name, self.names())
        return self._things[name]

    def _load(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist is not None else point.value
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a package's own code may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"{self.kind}: {point.name} of the package {package} cannot be loaded ({reason}); "
                "mend or uninstall that package"
            ) from error
        if point.name not in self._things:
            raise ConfigError(
                f"{self.kind}: the package {package} names {point.name} in its entry points ({self.group}), "
                f"but {point.value} does not register it; mend or uninstall that package"
            )


@cache
def _installed(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in _all().select(group=group)}


@cache
def _all() -> Any:  # of another type before Python 3.12
    """All entry points: reading what is installed takes longer than anything else here."""
    return entry_points()


CRITERIA: Registry[Any] = Registry(
    "planner", "mrecg.criteria", dict.fromkeys(("modcap", "loss", "error"), "mrecg.planner.criteria")
)
"""Criteria of the planner: `mrecg.planner.criteria.CriterionKind`."""
DATA: Registry[Any] = Registry(
    "data.source",
    "mrecg.data",
    {
        "digits": "mrecg.data.digits",
        "image_folder": "mrecg.data.folders",
        "cifar10": "mrecg.data.cifar",
        "cifar100": "mrecg.data.cifar",
        "dataset": "mrecg.data.dataset",
    },
)
"""Sources of images: `mrecg.data.source.Source`."""
FORMATS: Registry[Any] = Registry(
    "format", "mrecg.formats", dict.fromkeys(("onnx", "onnx_int8", "pt2", "packed"), "mrecg.formats.own")
)
"""Export formats: `mrecg.formats.registry.Format`."""
