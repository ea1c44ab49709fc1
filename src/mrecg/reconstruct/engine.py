"""Reconstruct a network: the passes of a method, one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mrecg.config.methods import LearnedRounding, Rtn
from mrecg.config.schema import CacheConfig, Precision, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, CacheUse, Store
from mrecg.reconstruct.correction import BATCH
from mrecg.reconstruct.events import GroupResult, Listener, Silent, UnitResult
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.lightning_fit import quiet_lightning
from mrecg.reconstruct.merge_trials import Trials
from mrecg.reconstruct.methods import Pass, passes_of
from mrecg.reconstruct.optimise import RETRIES
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.walk import Walk

if TYPE_CHECKING:
    from mrecg.reconstruct.helpers import Team


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all processes know that reconstruct a network together; arguments as of `reconstruct`."""

    plan: Plan
    passes: tuple[Pass, ...]
    trainer: TrainerConfig
    cache: CacheConfig
    precision: Precision
    seed: int
    eval_batch: int
    trials: Trials | None
    retries: int

    @property
    def block(self) -> int:
        """Images that have to stay in one process: those that are corrected together."""
        return BATCH if any(task.correction for task in self.passes) else 1

    def run(
        self,
        network: QuantizedNetwork,
        images: Store,
        shard: Shard,
        *,
        listener: Listener,
        finished: Finished | None,
    ) -> Reconstruction:
        """Do this process's part.

        Args:
            network: The calibrated network, changed in place; equal in all processes, before and behind.
            images: The calibration images that the process owns.
            shard: Which of all images these are.
            listener: Who is told of every chunk and unit.
            finished: Keeps the records of groups; only rank 0's is asked.

        Returns:
            The outcome for all images.
        """
        results: list[GroupResult] = []
        units: tuple[UnitResult, ...] = ()
        held_out = self.trials.held_out(shard.images) if self.trials else 0
        ranks = shard.ranks
        with (
            Cache(self.cache, images.device, sharers=ranks.world) as kept,
            quiet_lightning(),
            deterministic(),
        ):
            walk = Walk(
                network,
                self.plan,
                self.trainer,
                self.precision,
                kept,
                self.seed,
                self.eval_batch,
                listener,
                images,
                shard,
                held_out,
                finished,
                self.retries,
            )
            tried = [self.trials if task is self.passes[0] else None for task in self.passes]
            listener.outline([walk.outline(*each) for each in zip(self.passes, tried, strict=True)])
            for task, tries in zip(self.passes, tried, strict=True):
                units, groups = walk.run(task, report_units=task is self.passes[-1], trials=tries)
                results += groups
        memory, disk = ranks.total(kept.use.peak_mb, kept.use.disk_mb)
        use = replace(kept.use, peak_mb=round(memory, 3), disk_mb=round(disk, 3))
        return Reconstruction(units=units, groups=tuple(results), cache=use)


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
    finished: Finished | None = None,
    team: "Team | None" = None,
    on_divergence: str = "stop",
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
        finished: Keeps the records of groups; those that it has already are not optimised again.
        team: The devices that share the images; None: the network's alone.
        on_divergence: ``stop``, or ``retry`` with half the learning rates.

    Returns:
        Unit errors and curves. The same arguments give the same result, bit by bit, on the same machine; so
        they do wherever the cache lies, unless it is bfloat16.

    Raises:
        ConfigError: The cache has no place to be, or no room there; CUDA graphs are asked for and cannot be.
        DeviceError: One of several processes has ended.
        DivergenceError: The loss of a group is not finite, or exploded.
    """
    if trainer.cuda_graphs and images.device.type != "cuda":
        raise ConfigError(
            f"trainer.cuda_graphs: needs a GPU, the network is on {images.device}; set it to false"
        )
    listener = listener or Silent()
    first = images if isinstance(images, Store) else Store.of(images)
    depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
    job = Job(
        plan=plan,
        passes=tuple(passes_of(method, depthwise=depthwise, model=model, lr_factor=trainer.lr_factor)),
        trainer=trainer,
        cache=cache,
        precision=precision,
        seed=seed,
        eval_batch=eval_batch,
        trials=trials,
        retries=RETRIES if on_divergence == "retry" else 0,
    )
    if team is not None:
        return team.run(job, network, first, listener=listener, finished=finished)
    return job.run(network, first, Shard(first.images), listener=listener, finished=finished)


@contextmanager
def deterministic() -> Iterator[None]:
    """Choose convolution algorithms that repeat themselves."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
