"""Steps until the reconstruction loss of a unit has fallen."""

from typing import Any

import torch

from benchmarks.clock import timed
from benchmarks.learning import learning
from benchmarks.networks import EVAL_BATCH, Subject, network_of, subjects
from mrecg.config.schema import BitsConfig
from mrecg.methods.qdrop import QDrop
from mrecg.quant.modules import layers_of, quantization
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.job import deterministic
from mrecg.reconstruct.loss import reconstruction_loss

BITS = BitsConfig(weight=2, activation=4)
"""At four bits nearest rounding leaves little to learn on random images."""
METHOD = QDrop(lr_rounding=1e-2)
FRACTION, CAP, EVERY = 0.85, 500, 5
"""Of the first loss; optimisation steps at most; steps between two looks at the loss."""


def steps_to_loss(name: str, device: torch.device) -> dict[str, Any]:
    """Optimise the first unit of two or more layers until its loss has fallen.

    The loss is that of the hardened unit on all images, activations quantized. It begins at nearest rounding.
    The loss inside an optimisation step would not do: soft rounding begins at the full-precision weights.

    Returns:
        ``unit``, ``bits``, ``method``, ``lr_rounding``, ``fraction``, ``cap``; ``steps`` and ``seconds`` of
        the optimisation, both null where the loss has not fallen that far.
    """
    network, images = network_of(name, device, BITS)
    subject = next(each for each in subjects(network, images) if len(layers_of(each.low)) > 1)
    done, seconds = 0, 0.0
    with learning(subject, steps=CAP, method=METHOD) as module, deterministic():
        optimizer = module.configure_optimizers()

        def some_steps() -> None:
            with quantization(subject.low, activations="drop", drop=module.drop):
                for step in range(done, done + EVERY):
                    module.step(step, optimizer)

        goal = FRACTION * hardened_loss(subject, None)
        reached = False
        while not reached and done < CAP:
            seconds += timed(some_steps, device)
            done += EVERY
            reached = hardened_loss(subject, module) <= goal
    return {
        "unit": subject.name,
        "bits": f"W{BITS.weight}A{BITS.activation}",
        "method": METHOD.name,
        "lr_rounding": METHOD.lr_rounding,
        "fraction": FRACTION,
        "cap": CAP,
        "steps": done if reached else None,
        "seconds": seconds if reached else None,
    }


@torch.no_grad()
def hardened_loss(subject: Subject, module: GroupReconstruction | None) -> float:
    """Measure the unit with hard weights; the next step gives it its soft ones again.

    Args:
        module: What holds its rounding; None: as it was calibrated.

    Returns:
        The mean over the batches.
    """
    if module is not None:
        module.harden()
    cache, losses = subject.cache, []
    with quantization(subject.low, activations="on"):
        inputs, targets = cache.quantized.batches(EVAL_BATCH), cache.target.batches(EVAL_BATCH)
        for x, target in zip(inputs, targets, strict=True):
            losses.append(float(reconstruction_loss(subject.low(x), target)))
    return sum(losses) / len(losses)
