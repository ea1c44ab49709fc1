"""Finishing: after its reconstruction the whole network learns what is free, towards its output before.

Every integer stays. Held-out calibration images choose among what was learned on the way, the start included,
so on these the network never ends worse than it began.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.quant.modules import quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.events import UnitResult
from mrecg.reconstruct.finishing_module import Check, FinishTask, NetworkFinishing
from mrecg.reconstruct.free_parameters import FreeParameters
from mrecg.reconstruct.job import deterministic
from mrecg.reconstruct.lightning_fit import fit_in_chunks, quiet_lightning
from mrecg.reconstruct.rolling_cache import advance, deviation
from mrecg.reconstruct.settings import Settings

_CHUNK = 10
"""Steps of the whole network between two signs of progress, at most."""


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """How a network was finished.

    Attributes:
        measure: What the losses are: "kl" or "relative_error".
        images: Calibration images that it learned from.
        held_out_images: Those that chose.
        chosen: The check whose state the network has; that of step 0: it is as it was.
        checks: All checks, in order.
    """

    measure: str
    images: int
    held_out_images: int
    chosen: Check
    checks: tuple[Check, ...]


def finish(
    network: QuantizedNetwork,
    images: Tensor,
    config: FinishConfig,
    settings: Settings,
    *,
    progress: Callable[[int], None] | None = None,
) -> Finishing:
    """Learn scales and biases of a whole network, in place; integers and zero points stay.

    Args:
        network: The quantized network with hard weights.
        images: Calibration images of shape (N, C, H, W), at least two, on the network's device.
        settings: Seed, precision and chunk.
        progress: Called with the number of steps done since the last call.

    Returns:
        How it went. The same arguments give the same result, bit by bit, on the same machine.
    """
    store = Store.of(images)
    learned, held_out = divided(len(images), config.held_out, settings.seed)
    task = FinishTask(
        network=network,
        images=store,
        outputs=_outputs(network.full, store, settings.eval_batch),
        learned=learned.to(images.device),
        held_out=held_out.to(images.device),
        config=config,
        seed=_seed(settings.seed, "order"),
        eval_batch=settings.eval_batch,
        precision=settings.precision,
    )
    with quantization(network.model), quiet_lightning(), deterministic():
        free = FreeParameters(network.model, store.take(task.learned[: settings.eval_batch]))
        module = NetworkFinishing(task, free, progress or (lambda done: None))
        if len(free):
            with free.learning():
                chunk = min(settings.trainer.chunk, _CHUNK)
                fit_in_chunks(module, range(config.steps), chunk, images.device)
        chosen = module.choose()
    return Finishing(
        measure="kl" if task.logits else "relative_error",
        images=len(learned),
        held_out_images=len(held_out),
        chosen=chosen,
        checks=tuple(module.checks),
    )


def divided(images: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the images that are held out: who calls from Python may have theirs sorted by class.

    Args:
        images: How many there are, at least two.
        fraction: Of them that is held out, at least one.

    Returns:
        Numbers of the images to learn from, and of those held out.
    """
    count = min(max(1, round(images * fraction)), images - 1)
    generator = torch.Generator().manual_seed(_seed(seed, "held_out"))
    drawn = torch.randperm(images, generator=generator)
    return drawn[count:].sort().values, drawn[:count].sort().values


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
def _outputs(units: Sequence[nn.Module], images: Store, batch: int) -> Tensor:
    """Run the full-precision network over all images."""
    network = nn.Sequential(*units)
    return torch.cat([network(x) for x in images.batches(batch)])


def _seed(seed: int, what: str) -> int:
    return zlib.crc32(f"{seed}/finish/{what}".encode())
