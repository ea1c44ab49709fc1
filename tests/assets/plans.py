"""Plans of small networks."""

from collections.abc import Sequence

from mrecg.config.schema import GranularityConfig, PlannerConfig
from mrecg.planner.plan import make_plan
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork


def plan_of(network: QuantizedNetwork, groups: Sequence[Sequence[str]] = ()) -> Plan:
    """Plan blocks, with groups of some of them where these are named."""
    return make_plan(
        [unit.facts for unit in network.units],
        network.policy.layers,
        granularity=GranularityConfig(name="fixed" if groups else "block", groups=tuple(map(tuple, groups))),
        planner=PlannerConfig(),
        model="tiny",
    )
