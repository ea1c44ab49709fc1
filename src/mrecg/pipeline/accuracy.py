"""Accuracy of a model."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from mrecg.data.evaluation import refuse_labels, refuse_not_finite
from mrecg.errors import DataError, MrecgError, out_of_memory, short
from mrecg.graph.structure import tensors_of
from mrecg.pipeline.outputs import described, gives_scores
from mrecg.reconstruct.loss import prediction_difference


@dataclass(frozen=True)
class Accuracy:
    """Accuracies as fractions of 1.

    Attributes:
        top1: The fraction of images whose largest logit is at the label.
        top5: The fraction of images whose label is among the five largest logits.
        images: The number of images.
        labels: The label of each image in order, shape (N,).
        decisions: The index of the largest logit of each image, shape (N,).
        logits: The logits of each image, shape (N, classes), where they were asked for; else None.
        kl: The Kullback-Leibler divergence of the class probabilities from those of the reference, mean over
            the images, nats; None without a reference.
    """

    top1: float
    top5: float
    images: int
    labels: Tensor = field(default_factory=lambda: torch.zeros(0).long(), repr=False, compare=False)
    decisions: Tensor = field(default_factory=lambda: torch.zeros(0).long(), repr=False, compare=False)
    logits: Tensor | None = field(default=None, repr=False, compare=False)
    kl: float | None = None


@contextmanager
def borrowed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Bring a model to a device and into evaluation mode, and leave it as it was.

    Args:
        model: Somebody's model. Its parts may be in different modes, and its tensors on different devices.
    """
    modes = [(part, part.training) for part in model.modules()]
    held = [
        (tensors, name, tensor, None if tensor is None else tensor.data)
        for part in model.modules()
        for tensors in cast("tuple[dict[str, Tensor | None], ...]", (part._parameters, part._buffers))
        for name, tensor in tensors.items()
    ]
    try:
        model.eval().to(device)
        yield
    finally:
        for tensors, name, tensor, data in held:
            tensors[name] = tensor
            if tensor is not None and data is not None:
                tensor.data = data
        for part, training in modes:
            part.training = training


@torch.no_grad()
def accuracy(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
    keep_logits: bool = False,
    reference: Tensor | None = None,
) -> Accuracy:
    """Measure a classifier.

    Args:
        model: Returns logits of shape (B, classes); on ``device`` and in evaluation mode.
        batches: Images of shape (B, C, H, W) and labels of shape (B,).
        device: Where the model is.
        progress: Called after each batch with the number of its images.
        keep_logits: Whether the result has the logits.
        reference: Logits of another network for the same images, shape (N, classes), to compare with.

    Returns:
        The accuracies; top-5 counts all classes where there are fewer than five.

    Raises:
        DataError: A label is no index of the model's outputs, an image holds NaN or infinity, or the model
            gives no logits.
    """
    top1 = top5 = images = 0
    wanted, decided = [torch.zeros(0).long()], [torch.zeros(0).long()]
    kept: list[Tensor] = []
    difference = 0.0
    for x, labels in batches:
        refuse_not_finite(x, "evaluation", first=images)
        logits = scores_of(given_by(model, x, device))
        refuse_labels(labels.tolist(), logits.shape[1], "evaluation")
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices.cpu()
        if keep_logits:
            kept.append(logits.float().cpu())
        if reference is not None:
            other = reference[images : images + len(labels)].double()
            difference += float(prediction_difference(logits.cpu().double(), other)) * len(labels)
        hits = ranked == labels.unsqueeze(1)
        top1 += int(hits[:, 0].sum())
        top5 += int(hits.any(1).sum())
        images += len(labels)
        wanted.append(labels)
        decided.append(ranked[:, 0])
        if progress is not None:
            progress(len(labels))
    return Accuracy(
        top1 / max(images, 1),
        top5 / max(images, 1),
        images,
        torch.cat(wanted),
        torch.cat(decided),
        logits=torch.cat(kept) if kept else None,
        kl=None if reference is None else difference / max(images, 1),
    )


def given_by(model: nn.Module, x: Tensor, device: torch.device) -> Any:
    """Run a model on images of the evaluation.

    Args:
        model: On ``device``.
        x: Images of shape (B, C, H, W).
        device: Where the model is.

    Returns:
        What the model returns.

    Raises:
        DataError: The model does not take such images.
    """
    try:
        return model(x.to(device, memory_format=torch.channels_last))
    except MrecgError:
        raise
    except Exception as error:  # whatever the model's operations raise
        if out_of_memory(error):
            raise
        raise DataError(
            f"evaluation: the model does not take images of shape {tuple(x.shape[1:])}: {short(error, 300)}"
        ) from error


def scores_of(returned: Any) -> Tensor:
    """Take the logits of a classifier out of what it has returned.

    Args:
        returned: A tensor, or one in a dict, list, tuple or dataclass.

    Returns:
        The logits, shape (B, classes).

    Raises:
        DataError: It has returned something else than logits of shape (B, classes).
    """
    if gives_scores(returned):
        return tensors_of(returned)[0]
    several = len(tensors_of(returned)) > 1
    raise DataError(
        f"evaluation: the model gives {described(returned)}, and accuracy is counted on logits of shape "
        "(images, classes); "
        + ("choose one output by model.output=NAME, or " if several else "")
        + "leave the evaluation images out"
    )
