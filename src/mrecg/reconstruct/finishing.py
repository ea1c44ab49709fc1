"""Finishing: after its reconstruction the whole network learns what is free, towards its output before.

Every integer stays. Held-out calibration images choose among what was learned on the way, the start included,
so on these the network never ends worse than it began.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.graph.structure import joined
from mrecg.quant.modules import layers_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.events import Check, FinishPoint, Listener, Silent, UnitResult
from mrecg.reconstruct.finishing_task import FinishTask, points_of, tensor_of
from mrecg.reconstruct.free_parameters import FreeParameters
from mrecg.reconstruct.group_state import Finished, GroupRecord, restore, state_of
from mrecg.reconstruct.held_out import divided
from mrecg.reconstruct.job import deterministic
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.rolling_cache import advance, deviation
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.spread import spreads

_CHUNK = 10
"""Steps of the whole network between two signs of progress, at most."""
_NAME = "finish"
"""Name of its record in the middle of its steps."""
_POINTS = "points"
"""Name of the curve in its record."""


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """How a network was finished.

    Attributes:
        measure: What the losses are: "kl" or "relative_error".
        images: Calibration images that it learned from.
        held_out_images: Those that chose.
        chosen: The check whose state the network has; that of step 0: it is as it was.
        points: The curve.
        diverged: Steps after which a loss was not finite, where learning ended; None: it never was.
    """

    measure: str
    images: int
    held_out_images: int
    chosen: Check
    points: tuple[FinishPoint, ...]
    diverged: int | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """The points at which the held-out images were looked at."""
        return tuple(point for point in self.points if isinstance(point, Check))


def finish(
    network: QuantizedNetwork,
    images: Tensor,
    config: FinishConfig,
    settings: Settings,
    *,
    listener: Listener | None = None,
    finished: Finished | None = None,
) -> Finishing:
    """Learn scales and biases of a whole network, in place; integers and zero points stay.

    Args:
        network: The quantized network with hard weights.
        images: Calibration images of shape (N, C, H, W), at least two, on the network's device.
        settings: Seed, precision, chunk and steps between two points of the curve.
        listener: Is told of the points and of the number of steps.
        finished: Keeps what it needs to be resumed; it has been announced there.

    Returns:
        How it went. The same arguments give the same result, bit by bit, on the same machine.
    """
    store = Store.of(images)
    job = FinishJob(config=config, settings=settings)
    return job.run(network, store, Shard(store.images), listener=listener or Silent(), finished=finished)


@dataclass(frozen=True, kw_only=True)
class FinishJob:
    """What all processes that finish a network together know; see `finish`."""

    config: FinishConfig
    settings: Settings
    block = 1
    """Images that have to stay in one process."""

    def run(
        self,
        network: QuantizedNetwork,
        images: Store,
        shard: Shard,
        *,
        listener: Listener,
        finished: Finished | None,
    ) -> Finishing:
        """Do this process's part.

        Args:
            network: The quantized network, changed in place; equal in all processes.
            images: The calibration images that the process owns.
            shard: Which of all images these are.
            listener: Is told of points and steps.
            finished: See `finish`; only rank 0's is asked.

        Returns:
            How it went, for all images.
        """
        from mrecg.reconstruct.finishing_module import NetworkFinishing  # not before: Lightning is large
        from mrecg.reconstruct.lightning_fit import fit_in_chunks

        config, settings, ranks = self.config, self.settings, shard.ranks
        learned, held_out = divided(shard.images, config.held_out, settings.seed)
        with quantization(network.model), deterministic():
            task = FinishTask(
                network=network,
                images=images,
                outputs=_outputs(network.reference(), images, settings.eval_batch),
                shard=shard,
                learned=learned,
                held_out=held_out,
                config=config,
                seed=_seed(settings.seed, "order"),
                eval_batch=settings.eval_batch,
                log_every=settings.trainer.log_every,
                precision=settings.precision,
            )
            kept = finished if finished is not None and finished.every_steps else None
            keep = None if kept is None else partial(kept.keep_partial, _NAME)
            seen = images.take(shard.part(learned[: settings.eval_batch]).own)
            spread = spreads(network.model, layers_of(network.model), seen, ranks)
            free = FreeParameters(network.model, config, spread)
            module = NetworkFinishing(task, free, listener.finishing, keep)
            with free.learning():
                left = ranks.agreed(None if finished is None else finished.recall_partial(_NAME))
                begin = module.begin(left)
                if len(free):
                    chunk = min(settings.trainer.chunk, _CHUNK)
                    steps = range(begin, config.steps)
                    fit_in_chunks(module, steps, chunk, images.device, ranks=ranks)
            chosen = module.choose()
        return Finishing(
            measure="kl" if task.logits else "relative_error",
            images=len(learned),
            held_out_images=len(held_out),
            chosen=chosen,
            points=tuple(module.points),
            diverged=module.diverged,
        )


def record_of(
    network: QuantizedNetwork, finishing: Finishing, units: Sequence[UnitResult], seconds: float
) -> GroupRecord:
    """Make what a store keeps of a network that was finished.

    Args:
        network: The network as it is now.
        units: The units, measured again.
        seconds: What it took.
    """
    learned = {name: value for name, value in state_of(network.low).items() if not name.endswith("integers")}
    return GroupRecord(
        state=learned | {_POINTS: tensor_of(finishing.points)},
        measured=tuple((unit.error, unit.loss) for unit in units),
        seconds=seconds,
        noted={
            "measure": finishing.measure,
            "images": finishing.images,
            "held_out_images": finishing.held_out_images,
            "chosen": finishing.chosen.step,
            "diverged": finishing.diverged,
        },
    )


def recall(network: QuantizedNetwork, record: GroupRecord) -> Finishing:
    """Finish a network as a record says.

    Args:
        network: The network, changed in place.
        record: What `record_of` made of the same network.

    Raises:
        ValueError: It is the record of another network; then nothing is changed.
    """
    state, noted = dict(record.state), dict(record.noted)
    points = tuple(points_of(state.pop(_POINTS)))
    chosen = {p.step: p for p in points if isinstance(p, Check)}[noted.pop("chosen")]
    if len(record.measured) != len(network.units):
        raise ValueError("the record belongs to another network")
    restore(network.low, state_of(network.low) | state)
    return Finishing(chosen=chosen, points=points, **noted)


def measure_units(
    network: QuantizedNetwork, images: Tensor, units: Sequence[UnitResult], settings: Settings
) -> tuple[UnitResult, ...]:
    """Measure again what the reconstruction has measured after each unit.

    Args:
        images: All calibration images, on the network's device.
        units: What it measured.

    Returns:
        The same units, with error and loss in the network as it is now.
    """
    found, batch = [], settings.eval_batch
    first = full = quantized = Store.of(images)
    with Cache(settings.cache, images.device) as kept:
        for unit, part, low in zip(units, network.full, network.low, strict=True):
            before, full, quantized = (
                (full, quantized),
                advance(part, full, kept, batch=batch),
                advance(low, quantized, kept, batch=batch),
            )
            for store in before:
                if store is not first:
                    store.free()
            error, loss = deviation(quantized, full, batch=batch)
            found.append(replace(unit, error=error, loss=loss))
    return tuple(found)


@torch.no_grad()
def _outputs(network: nn.Module, images: Store, batch: int) -> Tensor:
    """Run the full-precision network over all images."""
    return torch.cat([joined(network(x), len(x)) for x in images.batches(batch)])


def _seed(seed: int, what: str) -> int:
    return zlib.crc32(f"{seed}/finish/{what}".encode())
