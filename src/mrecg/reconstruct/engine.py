"""Reconstruct a network: the passes of a method, one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mrecg.cache import Cache, CacheUse, Store
from mrecg.config.methods import LearnedRounding, Rtn
from mrecg.config.schema import CacheConfig, Precision, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.fit import quiet_lightning
from mrecg.reconstruct.methods import passes_of
from mrecg.reconstruct.records import GroupResult, Listener, Silent, UnitResult
from mrecg.reconstruct.walk import Trials, Walk


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The outcome.

    Attributes:
        units: Every base unit's error and loss in the finished network, in order.
        groups: Every group's curve, in the order of the optimisation.
        cache: What the rolling cache took.
    """

    units: tuple[UnitResult, ...]
    groups: tuple[GroupResult, ...]
    cache: CacheUse


def reconstruct(
    network: QuantizedNetwork,
    images: Tensor | Store,
    plan: Plan,
    *,
    method: Rtn | LearnedRounding,
    trainer: TrainerConfig,
    cache: CacheConfig,
    precision: Precision,
    seed: int,
    eval_batch: int,
    model: str = "",
    listener: Listener | None = None,
    trials: Trials | None = None,
) -> Reconstruction:
    """Optimise a calibrated network, in place.

    Args:
        network: The calibrated network.
        images: Calibration images of shape (N, C, H, W), on the network's device; the cache reads them where
            they are.
        plan: Which units are optimised jointly; made for the network's units.
        method: The method's hyper-parameters.
        trainer: Steps, batch size and chunk.
        cache: How activations are kept.
        precision: Of the convolutions while a group is optimised.
        seed: Seed of all draws.
        eval_batch: Images a forward pass when the cache advances.
        model: The network's name, by which methods find what papers choose for its family.
        listener: Who is told of every chunk and unit.
        trials: Merges to be tried during the first pass, for a plan that merges nothing; they hold some
            images out, from which no group learns then.

    Returns:
        Unit errors and curves. The same arguments give the same result, bit by bit, on the same machine; so
        they do wherever the cache lies, unless it is bfloat16.

    Raises:
        ConfigError: The cache has no place to be, or no room there; CUDA graphs are asked for and cannot be.
    """
    if trainer.cuda_graphs and images.device.type != "cuda":
        raise ConfigError(
            f"trainer.cuda_graphs: needs a GPU, the network is on {images.device}; set it to false"
        )
    listener = listener or Silent()
    first = images if isinstance(images, Store) else Store.of(images)
    depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
    results: list[GroupResult] = []
    units: tuple[UnitResult, ...] = ()
    held_out = trials.held_out(first.images) if trials else 0
    with Cache(cache, first.device) as kept, quiet_lightning(), deterministic():
        walk = Walk(network, plan, trainer, precision, kept, seed, eval_batch, listener, first, held_out)
        tasks = passes_of(method, depthwise=depthwise, model=model, lr_factor=trainer.lr_factor)
        tried = [trials if task is tasks[0] else None for task in tasks]
        listener.outline([walk.outline(*each) for each in zip(tasks, tried, strict=True)])
        for task, tries in zip(tasks, tried, strict=True):
            units, groups = walk.run(task, report_units=task is tasks[-1], trials=tries)
            results += groups
    return Reconstruction(units=units, groups=tuple(results), cache=kept.use)


@contextmanager
def deterministic() -> Iterator[None]:
    """Choose convolution algorithms that repeat themselves."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
