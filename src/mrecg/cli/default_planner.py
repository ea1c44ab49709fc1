"""Default planner of ``mrecg plan``: one without a probe run, which would take hours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrecg.config.schema import RunConfig

WITHOUT_IMAGES = (
    "planned by planner=modcap, which needs no images; planner=loss, which mrecg quantize takes, "
    "runs a probe of {steps:,} steps per unit first"
)
_ABOUT_PROBES = (
    *(
        "planner",
        "planner.name",
        "planner.difference",
        "planner.probe_steps",
        "planner.oscillation_threshold",
    ),
    *("planner.time_budget", "planner.memory_budget_mb", "planner.min_gain"),
)
"""Keys that choose a planner, or something that only a probe provides."""


def plans_without_images(words: Sequence[str], configs: Sequence["RunConfig"]) -> bool:
    """Return whether no planner is chosen and the default of the schema would run a probe.

    Args:
        words: The command line.
        configs: What it composes to.

    Returns:
        Whether ModCap plans instead.
    """
    from mrecg.config.schema import PlannerConfig
    from mrecg.methods import optimises
    from mrecg.planner.probe import needs_probe

    if any(word.lstrip("+~").split("=")[0] in _ABOUT_PROBES for word in words):
        return False
    own = PlannerConfig()
    return all(
        optimises(config.method)
        and needs_probe(config.granularity, config.planner)
        and config.planner.name == own.name
        and config.planner.difference is None
        and config.planner.probe_steps is None
        and config.planner.merge_count != "auto"
        for config in configs
    )
