"""The probe: a plain block-wise run whose unit errors and losses tell the planner where to merge.

A finished block-wise run is such a probe for every other run with the same model, images, bits, method,
budget and seed, so its numbers are kept (``planner.probe_cache``) and a sweep pays for the probe once.
"""

import hashlib
import json
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
from mrecg.planner.plan import Probe, make_plan
from mrecg.planner.schedule import Plan
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.engine import Reconstruction, reconstruct
from mrecg.reconstruct.records import Listener


def steps_of(config: RunConfig) -> int:
    """Optimisation steps a unit of the probe."""
    own = config.planner.probe_steps
    return config.trainer.steps if own is None else own


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
    outcome = reconstruct(
        copy,
        images,
        make_plan(
            [unit.facts for unit in network.units],
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
        listener=listener,
    )
    probe = _probe(outcome, steps)
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
    file = config.planner.probe_cache / f"{_key(network, images, config, steps_of(config))}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    return Probe(losses=tuple(content["losses"]), errors=tuple(content["errors"]), steps=content["steps"])


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
    }
    (folder / f"{_key(network, images, config, steps)}.json").write_text(json.dumps(content, indent=2) + "\n")


def _key(network: QuantizedNetwork, images: Tensor, config: RunConfig, steps: int) -> str:
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
