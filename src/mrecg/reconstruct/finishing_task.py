"""What a network is finished by: images, targets and the loss."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.config.schema import Precision
from mrecg.graph.structure import joined
from mrecg.quant.drop import scramble
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.augmentation import Augmentation
from mrecg.reconstruct.events import Check, FinishPoint
from mrecg.reconstruct.loss import prediction_difference
from mrecg.reconstruct.ranks import Shard

VIEWS = 4
"""How many augmented views of a held-out image are looked at, where images are augmented.

A network of few bits turns a change of a thousandth into other roundings everywhere after it, and so into
another loss: the views are independent samples of that noise, and none of them chose merges before.
"""


@dataclass(frozen=True, kw_only=True)
class FinishTask:
    """What a network is finished by, in one of the processes that do it together.

    Attributes:
        network: The network, changed in place.
        images: Calibration images that this process owns, shape (n, C, H, W).
        outputs: Full-precision output for each of them, shape (n, ...).
        shard: Which of all images these are.
        learned: Numbers of the images that are learned from, on the CPU.
        held_out: Numbers of those that choose, on the CPU.
        config: Steps and rates.
        seed: Of the order of the images and of their augmentation.
        eval_batch: Images a forward pass of the held-out ones.
        log_every: Steps between two points of the curve.
        precision: Of the convolutions in the steps.
    """

    network: QuantizedNetwork
    images: Store
    outputs: Tensor
    shard: Shard
    learned: Tensor
    held_out: Tensor
    config: FinishConfig
    seed: int
    eval_batch: int
    log_every: int = 10
    precision: Precision = 32

    @property
    def logits(self) -> bool:
        """Whether the output is one of class scores."""
        return self.outputs.dim() == 2 and self.outputs.shape[1] > 1

    def difference(self, out: Tensor, target: Tensor) -> Tensor:
        """Compare outputs with those in full precision.

        Args:
            out: Shape (B, ...).
            target: Same shape.

        Returns:
            Sum over the images: KL divergence, or squared error where the output is no scores.
        """
        if self.logits:
            return prediction_difference(out, target) * len(out)
        return squared_error(out, target)

    def norm(self, target: Tensor) -> Tensor | float:
        """What a sum of differences is divided by: the number of images, or the squares of their targets."""
        return len(target) if self.logits else target.square().sum()

    @torch.no_grad()
    def measured(self) -> float:
        """Loss of the network as it is on the held-out images of all processes, the mean of its views."""
        difference = norm = 0.0
        for x, target in zip(self._views(), self._targets, strict=True):
            out = joined(self.network.model(x), len(x))
            difference += float(self.difference(out, target))
            norm += float(self.norm(target))
        difference, norm = self.shard.ranks.total(difference, norm)
        return difference / norm if norm else 0.0

    def _views(self) -> Iterator[Tensor]:
        """All views of this process's held-out images, in batches of the same images."""
        part = self.shard.part(self.held_out)
        kind, least, seed = self.config.augment, self.config.crop, scramble(self.seed, 1)
        augmentation = Augmentation(kind, least=least, batch=len(self.held_out), seed=seed)
        for view in range(VIEWS if augmentation else 1):
            for some in torch.split(torch.arange(len(part.own)), self.eval_batch):
                if len(some):
                    x = self.images.take(part.own[some].to(self.outputs.device))
                    yield augmentation.apply(x, view, part.rows[some])

    @cached_property
    def _targets(self) -> list[Tensor]:
        """What full precision has of each of them: of the images themselves it is there already."""
        if self.config.augment == "none":
            own = self.shard.part(self.held_out).own.to(self.outputs.device)
            return list(torch.split(self.outputs[own], self.eval_batch)) if len(own) else []
        return [joined(self._reference(x), len(x)) for x in self._views()]

    @cached_property
    def _reference(self) -> nn.Module:
        return self.network.reference()

    def values(self, x: Tensor, *, quantized: bool) -> list[Tensor]:
        """Run one of the two networks.

        Args:
            x: Images, shape (B, C, H, W).
            quantized: Which one.

        Returns:
            What leaves each unit, or all outputs alone where no unit counts; the last is what `difference`
            compares: the outputs, where there are several.
        """
        network, found = self.network, list[Tensor]()
        units = network.low if quantized else network.full
        several, image = network.structure is not None, x
        for unit in units if not several else units[:-1] if self.config.boundary else ():
            x = unit(x)
            found.append(x)
        if several:
            found.append(joined((network.model if quantized else self._reference)(image), len(image)))
        return found


def squared_error(out: Tensor, target: Tensor) -> Tensor:
    """Sum of the squared differences."""
    return (out - target).square().sum()


def tensor_of(points: Sequence[FinishPoint]) -> Tensor:
    """Turn points of a curve into what a store keeps.

    Returns:
        Shape (N, 3): step, loss and held-out loss, NaN where there is none.
    """
    rows = [(p.step, *(math.nan if v is None else v for v in (p.loss, p.held_out))) for p in points]
    return torch.tensor(rows, dtype=torch.float64)


def points_of(rows: Tensor) -> list[FinishPoint]:
    """Turn what `tensor_of` gave into points again."""
    found: list[FinishPoint] = []
    for step, loss, held_out in rows.tolist():
        own = None if math.isnan(loss) else loss
        if math.isnan(held_out):
            found.append(FinishPoint(step=int(step), loss=own, held_out=None))
        else:
            found.append(Check(step=int(step), loss=own, held_out=held_out))
    return found
