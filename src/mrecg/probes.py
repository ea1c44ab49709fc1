"""The probe: a plain block-wise run whose unit errors and losses tell the planner where to merge.

A finished block-wise run is such a probe for every other run with the same model, images, bits, method,
budget and seed, so its numbers are kept (``planner.probe_cache``) and a sweep pays for the probe once.
"""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrecg.config.build import plain
from mrecg.config.methods import Rtn
from mrecg.config.schema import GranularityConfig, RunConfig
from mrecg.data.draws import add_tensor
from mrecg.environment import installed
from mrecg.planner.plan import Probe, allowed_pairs, make_plan, needs_trials
from mrecg.planner.schedule import Plan
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.engine import Reconstruction, reconstruct
from mrecg.reconstruct.records import Listener
from mrecg.reconstruct.trials import PairTrials

TRIAL_SHARE, TRIAL_STEPS = 4, 100
"""Where the probe's steps are open and it tries merges, it takes a quarter of the run's, but this many: the
trials cost four times the probe itself."""


def steps_of(config: RunConfig) -> int:
    """Optimisation steps a unit of the probe."""
    own, steps = config.planner.probe_steps, config.trainer.steps
    if own is not None:
        return own
    return min(steps, max(TRIAL_STEPS, steps // TRIAL_SHARE)) if _trials(config) else steps


def _trials(config: RunConfig) -> bool:
    return needs_trials(config.granularity, config.planner)


def run(network: QuantizedNetwork, images: Tensor, config: RunConfig, listener: Listener) -> Probe:
    """Reconstruct a copy of the network block by block.

    Args:
        network: The calibrated network; it is not changed.
        images: Calibration images on its device.
        config: Method, budget and seed.
        listener: Follows the reconstruction.

    Returns:
        The probe.
    """
    copy = QuantizedNetwork(network.traced, network.units, network.bits).to(images.device)
    copy.load_state({key: value.to(images.device) for key, value in network.state().items()})
    steps = steps_of(config)
    units = [unit.facts for unit in network.units]
    trials = PairTrials(allowed_pairs(units, config.planner)) if _trials(config) else None
    outcome = reconstruct(
        copy,
        images,
        make_plan(
            units,
            network.policy.layers,
            granularity=GranularityConfig(name="block"),
            planner=config.planner,
            model=config.model.name,
        ),
        method=config.method if steps else Rtn(),
        trainer=replace(config.trainer, steps=max(steps, 1)),
        cache=config.cache,
        precision=config.precision,
        seed=config.seed,
        eval_batch=config.data.batch_size,
        model=config.model.name,
        listener=listener,
        trials=trials,
    )
    probe = _probe(outcome, steps)
    if trials is not None:
        probe = replace(probe, reach=tuple(trials.reach), pairs=tuple(trials.pairs))
    _write(network, images, config, steps, probe)
    return probe


def recall(network: QuantizedNetwork, images: Tensor, config: RunConfig) -> Probe | None:
    """Find the probe that an earlier run left.

    Args:
        network: The network.
        images: Calibration images.
        config: The configuration.

    Returns:
        The probe; None where there is none.
    """
    if config.planner.probe_cache is None:
        return None
    key = _key(network, images, config, steps_of(config), trials=_trials(config))
    file = config.planner.probe_cache / f"{key}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    pairs = content["pairs"]
    return Probe(
        losses=tuple(content["losses"]),
        errors=tuple(content["errors"]),
        steps=content["steps"],
        reach=None if content["reach"] is None else tuple(content["reach"]),
        pairs=None if pairs is None else tuple(math.nan if value is None else value for value in pairs),
    )


def store(
    network: QuantizedNetwork, images: Tensor, config: RunConfig, plan: Plan, outcome: Reconstruction
) -> None:
    """Keep the numbers of a finished run, if it was block-wise.

    Args:
        network: The network.
        images: Calibration images.
        config: The configuration.
        plan: The run's plan.
        outcome: What it measured.
    """
    if plan.granularity == "block":
        _write(network, images, config, config.trainer.steps, _probe(outcome, config.trainer.steps))


def _probe(outcome: Reconstruction, steps: int) -> Probe:
    return Probe(
        losses=tuple(unit.loss for unit in outcome.units),
        errors=tuple(unit.error for unit in outcome.units),
        steps=steps,
    )


def _write(network: QuantizedNetwork, images: Tensor, config: RunConfig, steps: int, probe: Probe) -> None:
    folder = config.planner.probe_cache
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "steps": steps,
        "units": [unit.name for unit in network.units],
        "losses": probe.losses,
        "errors": probe.errors,
        "reach": probe.reach,
        # JSON has no NaN.
        "pairs": probe.pairs and [None if math.isnan(value) else value for value in probe.pairs],
    }
    key = _key(network, images, config, steps, trials=probe.reach is not None)
    (folder / f"{key}.json").write_text(json.dumps(content, indent=2) + "\n")


def _key(network: QuantizedNetwork, images: Tensor, config: RunConfig, steps: int, *, trials: bool) -> str:
    """Hash everything that decides a probe's numbers."""
    values = plain(config)
    trainer: dict[str, Any] = {**values["trainer"], "steps": steps, "device": images.device.type}
    for irrelevant in ("chunk", "log_every", "steps_per"):
        trainer.pop(irrelevant)
    decisive = {
        "bits": values["bits"],
        "calibration": values["calibration"],
        "method": values["method"] if steps else "rtn",
        "trainer": trainer,
        "lossless_cache": config.cache.dtype != "bfloat16",
        "batch": config.data.batch_size,
        "precision": config.precision,
        "seed": config.seed,
        "threads": torch.get_num_threads(),
        "versions": [installed(name) for name in ("mrecg", "torch")],
        "units": [unit.nodes for unit in network.units],
        "trials": sorted(allowed_pairs([unit.facts for unit in network.units], config.planner))
        if trials
        else None,
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    here = Path(__file__).parent  # a probe of other code would be another probe
    for folder, pattern in (
        (here, "cache.py"),
        (here / "kernels", "**/*.py"),
        (here / "quant", "**/*.py"),
        (here / "reconstruct", "**/*.py"),
    ):
        for file in sorted(folder.glob(pattern)):
            digest.update(file.read_bytes())
    for tensor in [*network.traced.state_dict().values(), images]:
        add_tensor(digest, tensor)
    return digest.hexdigest()[:32]
