"""What a run folder holds, as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, SkipValidation

from mrecg.planner.schedule import Plan
from mrecg.runs.summary import RunSummary


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The optimisation of one group.

    Attributes:
        group: The group's name: its units joined by "+".
        stage: "scales" for the second pass of a two-pass method; empty for the first.
        steps: Steps at which a point was logged.
        values: By quantity, one value a step: ``reconstruction``, and those of ``rounding``, ``total``,
            ``beta`` and ``prediction`` that were logged; not a number while one is off.
        floor: Reconstruction loss that the group has in full precision after the quantized units; None where
            it was not measured.
    """

    group: str
    stage: str
    steps: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]
    floor: float | None = None

    @property
    def losses(self) -> tuple[float, ...]:
        """Reconstruction loss at each step."""
        return self.values["reconstruction"]


class Run(RunSummary):
    """One run folder: its summary, and what else is in it."""

    path: SkipValidation[Path]
    """The folder."""
    plan: SkipValidation[Plan | None] = None
    """None where the run did not get that far."""
    curves: SkipValidation[tuple[Curve, ...]] = ()
    """In network order; empty for methods without an optimisation."""
    command: SkipValidation[str] = ""
    """The command line that was recorded; empty when none was."""
    config: SkipValidation[str] = ""
    """Text of config.yaml; empty when missing."""
    environment: SkipValidation[Mapping[str, str]] = Field(default_factory=dict)
    """Versions, device and the like."""
    detailed: SkipValidation[bool] = True
    """Whether all of the folder was read; else plan, curves, command, config and environment are empty,
    whatever the folder holds."""

    @property
    def name(self) -> str:
        """The run's name; that of its folder where it has none."""
        return self.run_name or self.path.resolve().name

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of the base units in network order."""
        return tuple(unit.name for unit in self.units)

    @property
    def merged(self) -> tuple[tuple[str, ...], ...]:
        """The groups with more than one unit."""
        return tuple(group for group in self.groups if len(group) > 1)


def short_group(names: Sequence[str]) -> str:
    """Name a group without repeating the module path that its units share.

    Args:
        names: Names of the group's units.

    Returns:
        A short name from which the units can be told.

    >>> short_group(["features.3", "features.4"])
    'features.3+4'
    >>> short_group(["layer1.1", "layer2.0"])
    'layer1.1+layer2.0'
    """
    parents = {name.rpartition(".")[0] for name in names}
    if len(parents) > 1 or parents == {""}:
        return "+".join(names)
    return "+".join([names[0], *(name.rpartition(".")[2] for name in names[1:])])


def short_groups(groups: Sequence[Sequence[str]]) -> str:
    """Name several groups in one line, the shared module path once.

    Args:
        groups: Groups of unit names.

    Returns:
        The names with commas between; a dash where there is no group.

    >>> short_groups([["features.3", "features.4"], ["features.6", "features.7"]])
    'features.3+4, 6+7'
    >>> short_groups([])
    '–'
    """
    if not groups:
        return "–"
    parents = {name.rpartition(".")[0] for group in groups for name in group}
    if len(parents) > 1 or parents == {""}:
        return ", ".join(short_group(group) for group in groups)
    cut = len(parents.pop()) + 1
    return ", ".join(
        [short_group(groups[0]), *(short_group([name[cut:] for name in group]) for group in groups[1:])]
    )
