"""What an author chooses: the width of the figures, and names in place of ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mrecg.errors import ConfigError
from mrecg.report.compare import Panel
from mrecg.report.figures.style import ONE_COLUMN, TWO_COLUMNS

Columns = Literal["one", "two"]
WIDTHS: dict[Columns, float] = {"one": ONE_COLUMN, "two": TWO_COLUMNS}
"""Inches."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Choices for all figures of a command.

    Attributes:
        width: One column of a paper, or two; None: each figure has what it needs.
        labels: ``OLD=NEW``: name of a configuration, or a part of it between commas, and what stands there.
    """

    width: Columns | None = None
    labels: tuple[str, ...] = ()

    @property
    def inches(self) -> float | None:
        """Width of all figures; None: each has its own."""
        return WIDTHS[self.width] if self.width else None


def renamed(shown: Sequence[Panel], labels: Sequence[str]) -> list[Panel]:
    """Give configurations other names.

    Args:
        shown: Panels of runs.
        labels: See `Choices`; where several fit, one for a whole name goes before those for its parts.

    Returns:
        The panels with these names.

    Raises:
        ConfigError: One is not ``OLD=NEW``, no configuration has its name, or two would share one.
    """
    known = dict.fromkeys(series.label for panel in shown for series in panel.series)
    parts = {part for name in known for part in name.split(", ")}
    chosen: dict[str, str] = {}
    for label in labels:
        old, new = _split(label, {*known, *parts}, known)
        if chosen.setdefault(old, new) != new:
            raise ConfigError(f"report: --label: {old!r} is given two names, {chosen[old]!r} and {new!r}")
    found = []
    for panel in shown:
        names = [_named(series.label, chosen) for series in panel.series]
        for i, name in enumerate(names):
            if name in names[:i]:
                both = [panel.series[k].label for k in (names.index(name), i)]
                raise ConfigError(
                    f"report: --label: {both[0]!r} and {both[1]!r} would both be named {name!r}; "
                    "give each a name of its own"
                )
        series = [replace(one, label=name) for one, name in zip(panel.series, names, strict=True)]
        found.append(replace(panel, series=tuple(series)))
    return found


def _split(label: str, names: set[str], known: Iterable[str]) -> tuple[str, str]:
    """Old and new name. A name may hold an equals sign, so the longest that is known is taken."""
    cuts = [i for i, letter in enumerate(label) if letter == "="]
    if not cuts or not label[: cuts[0]].strip() or not label[cuts[-1] + 1 :].strip():
        raise ConfigError(f"report: --label {label!r}: write OLD=NEW, for example --label 'BRECQ=Baseline'")
    for cut in reversed(cuts):
        old = label[:cut].strip()
        if old in names:
            return old, label[cut + 1 :].strip()
    raise ConfigError(
        f"report: --label {label!r}: no run has the name {label[: cuts[0]].strip()!r}; "
        f"the names are {', '.join(map(repr, known))}"
    )


def _named(label: str, chosen: dict[str, str]) -> str:
    if label in chosen:
        return chosen[label]
    return ", ".join(chosen.get(part, part) for part in label.split(", "))
