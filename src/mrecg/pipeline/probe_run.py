"""The probe: a plain block-wise run whose unit errors and losses tell the planner where to merge.

A finished block-wise run is such a probe for every other run with the same model, images, bits, method,
budget and seed, so its numbers are kept (``shared.folder``) and a sweep pays for the probe once.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from torch import Tensor

from mrecg.config.schema import GranularityConfig, RunConfig
from mrecg.config.validate import plain
from mrecg.methods.rtn import Rtn
from mrecg.pipeline.reuse import Reuse
from mrecg.planner.plan import Probe, allowed_pairs, make_plan, needs_trials
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.events import Listener
from mrecg.reconstruct.helpers import Team
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.merge_trials import PairTrials
from mrecg.reconstruct.settings import Settings

TRIAL_SHARE, TRIAL_STEPS = 4, 100
"""Where the probe's steps are open and it tries merges, it takes a quarter of the run's, but this many: the
trials cost four times the probe itself."""


def steps_of(config: RunConfig) -> int:
    """Optimisation steps per unit of the probe."""
    own, steps = config.planner.probe_steps, config.trainer.steps
    if own is not None:
        return own
    return min(steps, max(TRIAL_STEPS, steps // TRIAL_SHARE)) if _trials(config) else steps


def _trials(config: RunConfig) -> bool:
    return needs_trials(config.granularity, config.planner)


def alone(network: QuantizedNetwork, config: RunConfig, sharing: Reuse) -> AbstractContextManager[None]:
    """Let no other process run the same probe meanwhile.

    Args:
        sharing: What runs share.

    Returns:
        For a ``with`` block.
    """
    decisive = _decisive(network, config, steps_of(config), trials=_trials(config))
    return sharing.alone("probe", **decisive)


def find(network: QuantizedNetwork, config: RunConfig, sharing: Reuse) -> Probe | None:
    """Find the probe that an earlier run left.

    Args:
        sharing: What runs share.

    Returns:
        The probe; None where there is none.
    """
    return sharing.recall_probe(**_decisive(network, config, steps_of(config), trials=_trials(config)))


def run(
    network: QuantizedNetwork,
    images: Tensor,
    config: RunConfig,
    sharing: Reuse,
    *,
    team: Team,
    listener: Listener,
) -> Probe:
    """Reconstruct a copy of the network block by block.

    Args:
        network: The calibrated network; it is not changed.
        images: Calibration images on its device.
        config: Method, budget and seed.
        sharing: What runs share.
        team: The devices that run it.
        listener: Follows the reconstruction.
    """
    begin = time.perf_counter()
    copy = QuantizedNetwork(network.traced, network.units, network.bits, chosen=network.policy)
    copy.to(images.device)
    copy.load_state({key: value.to(images.device) for key, value in network.state().items()})
    steps = steps_of(config)
    units = [unit.facts for unit in network.units]
    trials = PairTrials(allowed_pairs(units, config.planner)) if _trials(config) else None
    decisive = _decisive(network, config, steps, trials=trials is not None)
    outcome = team.reconstruct(
        copy,
        images,
        make_plan(
            units,
            network.policy.layers,
            granularity=GranularityConfig(name="block"),
            planner=config.planner,
            model=config.model.name,
        ),
        replace(
            Settings.of(config),
            method=config.method if steps else Rtn(),
            trainer=replace(config.trainer, steps=max(steps, 1)),
        ),
        listener=listener,
        trials=trials,
        # A plain probe is the beginning of any plain run, so both have the same chain, and a run whose merges
        # are judged holds the same images out from the start.
        finished=sharing.groups(
            steps=steps,
            held_out=decisive["held_out"],
            **({"trials": decisive["trials"]} if trials else {}),
        ),
    )
    probe = _probe(outcome, steps)
    if trials is not None:
        probe = replace(probe, reach=tuple(trials.reach), pairs=tuple(trials.pairs))
    sharing.keep_probe(probe, time.perf_counter() - begin, **decisive)
    return probe


def keep(
    network: QuantizedNetwork, config: RunConfig, sharing: Reuse, plan: Plan, outcome: Reconstruction
) -> None:
    """Keep the numbers of a finished run, if it was block-wise.

    Args:
        sharing: What runs share.
        plan: The run's plan.
        outcome: What it measured.
    """
    if plan.granularity == "block":
        steps = config.trainer.steps
        seconds = sum(group.seconds for group in outcome.groups)
        decisive = _decisive(network, config, steps, trials=False)
        sharing.keep_probe(_probe(outcome, steps), seconds, **decisive)


def block_wise(
    network: QuantizedNetwork, config: RunConfig, sharing: Reuse, plan: Plan
) -> tuple[float, ...] | None:
    """Find the errors of the block-wise run of the same settings, where one is known.

    Args:
        sharing: What runs share.
        plan: The run's plan.

    Returns:
        Those of an earlier run, or of the plan's own probe if it is such a run: of as many steps, without
        trials. None where there is neither, and for a plan that merges nothing: it is that run.
    """
    if not plan.merges:
        return None
    alone = replace(config, granularity=GranularityConfig(name="block"))
    decisive = _decisive(network, alone, config.trainer.steps, trials=False)
    known = sharing.recall_probe(compare=True, **decisive)
    if known is not None and len(known.errors) == len(plan.units):
        return known.errors
    if steps_of(config) != config.trainer.steps or _trials(config):
        return None
    return next((one.capacities for one in plan.criteria if one.name == "error"), None)


def _probe(outcome: Reconstruction, steps: int) -> Probe:
    return Probe(
        losses=tuple(unit.loss for unit in outcome.units),
        errors=tuple(unit.error for unit in outcome.units),
        steps=steps,
    )


def _decisive(network: QuantizedNetwork, config: RunConfig, steps: int, *, trials: bool) -> dict[str, Any]:
    """What decides a probe besides the settings that decide any reconstruction."""
    return {
        "steps": steps,
        "log_every": 0,  # it has no curves
        "held_out": Settings.of(config).held_out,
        "method": plain(config)["method"] if steps else "rtn",
        "model": config.model.name,  # its family decides what a method leaves open
        "trials": sorted(allowed_pairs([unit.facts for unit in network.units], config.planner))
        if trials
        else None,
    }
