"""Activation distribution correction: full-precision activations that fit BatchNorm's statistics better.

The statistics were gathered on the training images; those of a few calibration images differ. Before a group
learns, its full-precision input is moved so that what reaches each BatchNorm of the group has, image by
image, a mean and a standard deviation nearer to the running ones. Quantization then fits the calibration
images less closely, and the training images better.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.methods.passes import Correction
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.loss import reconstruction_loss

BATCH = 32
"""Images that are corrected together, as published: the rate falls when their common loss stays."""
EPSILON = 1e-6
"""Added to variances before their square root."""
PATIENCE, SMALLEST_RATE = 100, 1e-5
"""Steps without progress before the learning rate falls to a tenth, and its least value."""


def correct(
    units: Sequence[nn.Module],
    full: Store,
    correction: Correction,
    *,
    steps: int,
    cache: Cache,
    report: Callable[[int], None],
) -> Store:
    """Correct what enters a group.

    Args:
        units: The group's full-precision units in order, with their BatchNorms not folded; `correctable`.
        full: Output of the full-precision prefix, shape (N, C, ...).
        correction: Learning rate and strength.
        steps: Optimisation steps on each batch of 32 images.
        cache: Keeps the outcome.
        report: Called with the number of steps after each batch.

    Returns:
        The corrected activations, shape of ``full``.

    Source:
        PD-Quant, arXiv 2212.07048, section 3.4, as its published code has it.
    """
    norms = _norms(units)

    def corrected() -> Iterator[Tensor]:
        for values in full.batches(BATCH):
            yield _correct_batch(nn.Sequential(*units), norms, values, correction, steps)
            report(steps)

    return cache.write(corrected(), full.images)


def correctable(units: Sequence[nn.Module]) -> bool:
    """Tell whether a group has statistics to be corrected by.

    Args:
        units: Its full-precision units with their BatchNorms not folded.

    Returns:
        Whether there is a BatchNorm over images with running statistics.
    """
    return bool(_norms(units))


def _norms(units: Sequence[nn.Module]) -> list[nn.Module]:
    parts = [part for unit in units for part in unit.modules()]
    return [part for part in parts if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None]


def _correct_batch(
    group: nn.Sequential, norms: Sequence[nn.Module], values: Tensor, correction: Correction, steps: int
) -> Tensor:
    seen: dict[nn.Module, Tensor] = {}

    def remember(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[norm] = inputs[0]

    handles = [norm.register_forward_pre_hook(remember) for norm in norms]
    try:
        with torch.enable_grad():
            x = values.detach().clone().requires_grad_()
            adam = torch.optim.Adam([x], lr=correction.lr)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                adam, patience=PATIENCE, min_lr=SMALLEST_RATE
            )
            for _ in range(steps):
                group(x)
                loss = reconstruction_loss(x, values) / correction.strength
                for norm in norms:
                    loss = loss + _distance(norm, seen[norm])
                adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
                plateau.step(float(loss.detach()))
    finally:
        for handle in handles:
            handle.remove()
    return x.detach()


def _distance(norm: nn.Module, entering: Tensor) -> Tensor:
    """How far each image's mean and deviation are from the running ones: squared, mean over the images."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    rows = entering.flatten(2)
    distance = (rows.mean(2) - norm.running_mean).square().sum()
    if rows.shape[2] > 1:  # a single position has no deviation
        deviation = (rows.var(2) + EPSILON).sqrt() - (norm.running_var + EPSILON).sqrt()
        distance = distance + deviation.square().sum()
    return distance / len(rows)
