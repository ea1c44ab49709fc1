"""What the pictures compare: configurations along the units, and numbers of merged pairs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mrecg.errors import DataError
from results.records import Configuration, Results, identity
from results.words import Words

MOST = 6
"""Lines in one picture."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What the picture along the units shows.

    Attributes:
        method: The method.
        widths: Bit widths, from the widest; one column of panels each.
        lines: Configurations by bit width, by what tells one line from the others.
        left_out: Lines that found no room.
    """

    method: str
    widths: tuple[str, ...]
    lines: Mapping[str, Mapping[str, Configuration]]
    left_out: int

    @property
    def drawn(self) -> list[Configuration]:
        """All configurations that are shown."""
        return [configuration for line in self.lines.values() for configuration in line.values()]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Configurations that differ in the number of merges alone.

    Attributes:
        label: What tells it from the other series; empty for a single one.
        points: Pairs asked for and configuration, ascending; pairs None for auto.
    """

    label: str
    points: tuple[tuple[int | None, Configuration], ...]


def chosen(results: Results) -> Lines:
    """Choose what is drawn along the units.

    Args:
        results: The runs.

    Returns:
        Block-wise and mixed configurations of the method with most runs: the block-wise ones and those with
        most runs where there are too many.

    Raises:
        DataError: There is none.
    """
    fitting = [
        c
        for c in results.configurations
        if c["granularity"] in ("block", "mixed")
        and c["method"] != "rtn"
        and tuple(c["units"]) == results.units
    ]
    if not fitting:
        raise DataError(f"{results.name}: no block-wise or mixed run with an optimisation to draw")
    runs = Counter(c["method"] for c in fitting for _ in c.runs)
    method = runs.most_common(1)[0][0]
    own = [c for c in fitting if c["method"] == method]
    words = Words(own)
    lines: dict[str, dict[str, Configuration]] = {}
    for configuration in own:
        lines.setdefault(words.label(configuration), {})[configuration.width] = configuration

    def weight(label: str) -> tuple[bool, int]:
        members = lines[label].values()
        return any(c["granularity"] == "block" for c in members), sum(len(c.runs) for c in members)

    kept = sorted(lines, key=weight, reverse=True)[:MOST]
    shown = {label: line for label, line in lines.items() if label in kept}
    widths = dict.fromkeys(c.width for c in own if any(c in line.values() for line in shown.values()))
    return Lines(method=method, widths=tuple(widths), lines=shown, left_out=len(lines) - len(shown))


def merge_counts(results: Results) -> list[Series]:
    """Find what compares numbers of merged pairs.

    Args:
        results: The runs.

    Returns:
        Series of two or more numbers of pairs, blocks alone being 0.

    Raises:
        DataError: There is none.
    """
    counted = [c for c in results.configurations if "merge_count" in c["planner"]]
    by_key: dict[str, list[Configuration]] = {}
    for configuration in counted:
        by_key.setdefault(_without_count(configuration), []).append(configuration)
    found = [members for members in by_key.values() if len(members) > 1]
    if not found:
        raise DataError(f"{results.name}: no two runs of it differ in planner.merge_count alone")
    words = Words([members[0] for members in found], counts=False)
    series = []
    for members in found:
        first = members[0]
        points: list[tuple[int | None, Configuration]] = [
            (None if (k := c["planner"]["merge_count"]) == "auto" else k, c) for c in members
        ]
        if 0 not in dict(points):
            alone = {"granularity": "block", "planner": {}, "groups": []}
            key = identity({**first.runs[0], **alone})
            points = [(0, c) for c in results.configurations if identity(c.runs[0]) == key] + points
        texts = [first.width] if len({c.width for c in words.all}) > 1 else []
        texts += [words.label(first)] if len({words.label(c) for c in words.all}) > 1 else []
        series.append(Series(label=", ".join(texts), points=tuple(points)))
    return series


def _without_count(configuration: Configuration) -> str:
    planner = {key: value for key, value in configuration["planner"].items() if key != "merge_count"}
    return identity({**configuration.runs[0], "planner": planner})
