"""Networks without class scores, or with several outputs: what can be measured of them, and what cannot."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.config.schema import RunConfig
from mrecg.data.evaluation import refuse_not_finite
from mrecg.data.images import Images
from mrecg.errors import ConfigError
from mrecg.graph.structure import structure_of, tensors_of
from mrecg.methods import passes_of
from mrecg.reconstruct.held_out import output_squares

ALONE = "output"
"""Name of the output of a network that has one."""


def gives_scores(returned: Any) -> bool:
    """Return whether a network is a classifier: its only output has the shape (images, classes)."""
    tensors = tensors_of(returned)
    return len(tensors) == 1 and tensors[0].dim() == 2


def described(returned: Any) -> str:
    """Say what a network gives: the shape of each output, with its name.

    >>> described({"out": torch.zeros(1, 21, 8, 8), "aux": torch.zeros(1, 4)})
    'out (1, 21, 8, 8), aux (1, 4)'
    """
    structure, tensors = structure_of(returned)
    named = zip(structure.names, tensors, strict=True)
    return ", ".join(f"{name} {tuple(value.shape)}".strip() for name, value in named)


def label_notes(images: Images, returned: Any) -> tuple[str, ...]:
    """Compare the labels with a network's class scores, or say what is measured where it has none.

    Args:
        returned: What the network gives for one image.

    Returns:
        What a user should know.

    Raises:
        DataError: A label is no index of the scores.
    """
    if not len(images):
        return ()
    if gives_scores(returned):
        return images.check_labels(tensors_of(returned)[0].shape[1])
    several = len(tensors_of(returned)) > 1
    return (
        f"the network gives for one image {described(returned)}: no accuracy is counted, but the relative "
        f"error of {'each' if several else 'the'} output"
        + ("; model.output=NAME chooses one output" if several else ""),
    )


def refuse_without_scores(config: RunConfig, returned: Any, last: Tensor) -> None:
    """Refuse what compares class probabilities where no output, or none that can be told, has them.

    Args:
        config: Method and planner.
        returned: What the network gives for one image.
        last: What its last unit gives for it.

    Raises:
        ConfigError: The network gives no class scores, or several outputs of which none is the one.
    """
    passes = passes_of(config.method, depthwise=False)
    needs = {
        "method=pd_quant": any(one.prediction is not None for one in passes),
        "method.loss=fisher_diag": any(one.loss == "fisher_diag" for one in passes),
        "planner=pack": config.granularity.name == "mixed" and config.planner.name == "pack",
    }
    what = next((name for name, needed in needs.items() if needed), None)
    tensors = tensors_of(returned)
    if what is None or (last.dim() == 2 and sum(one.dim() == 2 for one in tensors) == 1):
        return
    if len(tensors) == 1:
        raise ConfigError(
            f"{what} compares class probabilities; for one image the network's output has shape "
            f"{tuple(tensors[0].shape)}"
        )
    raise ConfigError(
        f"{what} compares class probabilities, and the network gives for one image {described(returned)}; "
        "choose the one with class scores by model.output=NAME"
    )


@torch.no_grad()
def output_errors(
    full: nn.Module,
    low: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Compare the outputs of a quantized network with those in full precision.

    Args:
        full: The network in full precision, on ``device``.
        low: The quantized one, likewise.
        batches: Images of shape (B, C, H, W), with labels that are not looked at.
        device: Where both are.
        progress: Called after each batch with the number of its images.

    Returns:
        By output, the relative error ``||q - f||^2 / ||f||^2`` over all images; of class indices the fraction
        that differs.

    Raises:
        DataError: An image holds NaN or infinity.
    """
    sums: dict[str, list[float]] = {}
    seen = 0
    for batch, _ in batches:
        refuse_not_finite(batch, "evaluation", first=seen)
        x = batch.to(device, memory_format=torch.channels_last)
        structure, expected = structure_of(full(x))
        for name, f, q in zip(structure.names, expected, tensors_of(low(x)), strict=True):
            error, norm = output_squares(q, f)
            total = sums.setdefault(name or ALONE, [0.0, 0.0])
            total[0] += error
            total[1] += norm
        seen += len(batch)
        if progress is not None:
            progress(len(batch))
    return {name: error / norm if norm else error for name, (error, norm) in sums.items()}


def told(errors: dict[str, float], images: int) -> str:
    """Say in a line how far the outputs are off."""
    said = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
    return f"relative error on {images:,} evaluation images: {said}"
