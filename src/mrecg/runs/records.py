"""What a run folder holds, as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrecg.planner.schedule import Plan
from mrecg.runs.layout import COMPLETED


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy on the evaluation images.

    Attributes:
        top1: Fraction of 1.
        top5: Fraction of 1; None where it was not computed.
    """

    top1: float
    top5: float | None


@dataclass(frozen=True, kw_only=True)
class Oscillation:
    """How far the curves along the units are from monotone.

    Attributes:
        error_index: Of the relative error; 0 exactly when its curve is monotone.
        error_peak: Largest relative error.
        loss_index: Likewise for the reconstruction loss.
        loss_peak: Likewise.
    """

    error_index: float
    error_peak: float
    loss_index: float
    loss_peak: float


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What was measured behind one unit; not a number where it was not finite.

    Attributes:
        name: The unit's name.
        group: Index of the group that it was optimised in.
        error: Relative error.
        loss: Reconstruction loss.
    """

    name: str
    group: int
    error: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The optimisation of one group.

    Attributes:
        group: The group's name: its units joined by "+".
        stage: "scales" for the second pass of a two-pass method; empty for the first.
        steps: Steps at which a point was logged.
        values: By quantity, one value a step: ``reconstruction``, and those of ``rounding``, ``total``,
            ``beta`` and ``prediction`` that were logged; not a number while one is off.
        floor: Reconstruction loss that the group has in full precision behind the quantized units; None where
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


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder.

    Attributes:
        path: The folder.
        name: The run's name.
        status: "completed" or "failed".
        error: Why it failed; empty where that is not known.
        model: Name of the model.
        data: Name of the images.
        method: Name of the method.
        granularity: Name of the granularity.
        planner: What chose the merges; empty where the granularity alone decides.
        merge_count: Pairs asked for.
        weight_bits: Bits of a weight; 0 when not known, as all else that a failed run did not write.
        activation_bits: Bits of an activation.
        stem_output: "low", "high" or "8": the convention for the first layer's output.
        options: What else differs from the defaults, by dotted key.
        batch_size: Images a step; 0 when not known.
        precision: Of the convolutions in the optimisation.
        seed: Seed of the optimisation.
        steps: Optimisation steps a unit or group.
        steps_per: "unit" or "group".
        device: What it ran on.
        calibration_images: Images that were optimised on.
        evaluation_images: Images behind the accuracies.
        evaluation_set: Digest of which images these are; empty when not known.
        fp: Accuracy in floating point; None without evaluation images.
        quantized: Accuracy after quantization; None likewise.
        oscillation: None where the run did not get that far.
        units: One record a base unit, in network order.
        groups: Unit names by group.
        seconds: Seconds of each stage.
        peak_memory_mb: Largest memory in use, MB.
        size_fp: Bytes of the weights in floating point; 0 when unknown.
        size_quantized: Bytes of the weights after quantization; 0 when unknown.
        plan: None where the run did not get that far.
        curves: In network order; empty for methods without an optimisation.
        command: The command line that was recorded; empty when none was.
        config: Text of config.yaml; empty when missing.
        environment: Versions, device and the like.
        detailed: Whether all of the folder was read; else plan, curves, command, config and environment are
            empty, whatever the folder holds.
    """

    path: Path
    name: str
    status: str
    error: str
    model: str
    data: str
    method: str
    granularity: str
    planner: str
    merge_count: int
    weight_bits: int
    activation_bits: int
    stem_output: str
    options: Mapping[str, str]
    batch_size: int
    precision: str
    seed: int
    steps: int
    steps_per: str
    device: str
    calibration_images: int
    evaluation_images: int
    evaluation_set: str
    fp: Accuracy | None
    quantized: Accuracy | None
    oscillation: Oscillation | None
    units: tuple[UnitResult, ...]
    groups: tuple[tuple[str, ...], ...]
    seconds: Mapping[str, float]
    peak_memory_mb: float
    size_fp: int
    size_quantized: int
    plan: Plan | None
    curves: tuple[Curve, ...]
    command: str
    config: str
    environment: Mapping[str, str]
    detailed: bool = True

    @property
    def completed(self) -> bool:
        """Whether the run reached its end."""
        return self.status == COMPLETED

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of the base units in network order."""
        return tuple(unit.name for unit in self.units)

    @property
    def merged(self) -> tuple[tuple[str, ...], ...]:
        """The groups with more than one unit."""
        return tuple(group for group in self.groups if len(group) > 1)

    @property
    def bits(self) -> str:
        """The bit widths as the field writes them, for example W2A4; empty when not known."""
        return "" if self.weight_bits == 0 else f"W{self.weight_bits}A{self.activation_bits}"

    @property
    def total_seconds(self) -> float:
        """Seconds of all stages together."""
        return sum(self.seconds.values())


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
