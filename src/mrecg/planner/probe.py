"""What a probe run found, and which plans need one."""

from dataclasses import dataclass

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import GranularityConfig
from mrecg.errors import PlanError
from mrecg.registry import CRITERIA


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a plain block-wise run found; input of the data-dependent criteria.

    Attributes:
        losses: Reconstruction loss after each unit.
        errors: Relative error after each unit.
        steps: Optimisation steps per unit that the run took.
        reach: For each unit how far the network's predictions are off (Kullback-Leibler divergence; relative
            error of an output that is no logits) when all units up to it are quantized, reconstructed block
            by block, and all after it are in full precision; None: not measured.
        pairs: For each pair of neighbours the same number after its second unit, when the two were
            reconstructed jointly, in as many steps in all and after the same quantized prefix; not a number
            where the pair was not tried; None: no pair was.
    """

    losses: tuple[float, ...]
    errors: tuple[float, ...]
    steps: int
    reach: tuple[float, ...] | None = None
    pairs: tuple[float, ...] | None = None


def check_probe(probe: Probe, units: int) -> None:
    """Check that a probe is about as many units as there are.

    Args:
        units: How many units there are.

    Raises:
        PlanError: It is not.
    """
    held = {
        "errors": (probe.errors, units),
        "losses": (probe.losses, units),
        "reach": (probe.reach, units),
        "pairs": (probe.pairs, units - 1),
    }
    for name, (numbers, wanted) in held.items():
        if numbers is not None and len(numbers) != wanted:
            raise PlanError(
                f"the probe holds {len(numbers)} numbers ({name}) for {units} units; run it on this graph"
            )


def needs_probe(granularity: GranularityConfig, planner: PlannerConfig) -> bool:
    """Tell whether a plan needs the numbers of a probe run.

    Returns:
        True for mixed granularity by budget, by loss or by error (or by ModCap where the probe ranks pairs or
        finds how many to merge), unless nothing is to be merged anyway.
    """
    planner = planner.ranking
    if granularity.name != "mixed":
        return False
    if planner.merge_count == "auto" and planner.name in CRITERIA:
        return True
    if planner.name == "modcap":
        return planner.merge_count != 0 and planner.not_comparable == "loss"
    if needs_trials(granularity, planner):
        return True
    return planner.name in CRITERIA and bool(CRITERIA.get(planner.name).needs_probe and planner.merge_count)


def needs_trials(granularity: GranularityConfig, planner: PlannerConfig) -> bool:
    """Tell whether a plan needs trials of merges in its probe: its ``reach`` and ``pairs``.

    Returns:
        True for mixed granularity by budget.
    """
    return granularity.name == "mixed" and planner.name == "budget"


def needs_alone(granularity: GranularityConfig, planner: PlannerConfig) -> bool:
    """Tell whether a plan needs to know what quantizing each unit by itself does.

    Returns:
        True for mixed granularity by pack.
    """
    return granularity.name == "mixed" and planner.name == "pack"
