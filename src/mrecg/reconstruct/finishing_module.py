"""The LightningModule that finishes a whole quantized network.

As for a group, one ``training_step`` runs a chunk of steps, and every draw follows from the seed and the
step's number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor

from mrecg.config.finishing import FinishConfig
from mrecg.config.schema import Precision
from mrecg.quant.drop import scramble
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.augmentation import Augmentation
from mrecg.reconstruct.batch_order import Order
from mrecg.reconstruct.free_parameters import FreeParameters
from mrecg.reconstruct.loss import prediction_difference

CHECKS = 10
"""How often held-out images are looked at."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What the held-out images said.

    Attributes:
        step: Steps taken before.
        held_out: Loss of the held-out images.
        loss: Mean loss of the steps since the check before; None at the start.
    """

    step: int
    held_out: float
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class FinishTask:
    """What a network is finished by.

    Attributes:
        network: The network, changed in place.
        images: Calibration images, shape (N, C, H, W).
        outputs: Full-precision output for each of them, shape (N, ...).
        learned: Numbers of the images that are learned from.
        held_out: Numbers of those that choose.
        config: Steps and rates.
        seed: Of the order of the images and of their augmentation.
        eval_batch: Images a forward pass of the held-out ones.
        precision: Of the convolutions in the steps.
    """

    network: QuantizedNetwork
    images: Store
    outputs: Tensor
    learned: Tensor
    held_out: Tensor
    config: FinishConfig
    seed: int
    eval_batch: int
    precision: Precision = 32

    @property
    def logits(self) -> bool:
        """Whether the output is one of class scores."""
        return self.outputs.dim() == 2 and self.outputs.shape[1] > 1

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Compare outputs with those in full precision.

        Args:
            out: Shape (B, ...).
            target: Likewise.

        Returns:
            One number, a mean over the images.
        """
        if self.logits:
            return prediction_difference(out, target)
        return relative_error(out, target)

    @torch.no_grad()
    def measured(self) -> float:
        """Loss of the network as it is on the held-out images."""
        total = 0.0
        for index in torch.split(self.held_out, self.eval_batch):
            out = self.network.model(self.images.take(index))
            total += float(self.loss(out, self.outputs[index])) * len(index)
        return total / len(self.held_out)


def relative_error(out: Tensor, target: Tensor) -> Tensor:
    """Squared error over the squares of the target; 0 where both are 0."""
    norm = target.square().sum().clamp_min(torch.finfo(target.dtype).tiny)
    return (out - target).square().sum() / norm


class NetworkFinishing(L.LightningModule):
    """Learns what is free in a network, and keeps the best that it has come by.

    Args:
        task: What it learns from.
        free: What it learns.
        report: Called after each chunk with the number of its steps.

    Attributes:
        checks: What the held-out images said, from the start on.
        augmentation: What is done to the images of each step.
    """

    def __init__(self, task: FinishTask, free: FreeParameters, report: Callable[[int], None]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._task, self._free, self._report = task, free, report
        batch = min(task.config.batch_size, len(task.learned))
        self._order = Order(len(task.learned), batch, seed=task.seed, device=task.learned.device)
        kind, least = task.config.augment, task.config.crop
        self.augmentation = Augmentation(kind, least=least, batch=batch, seed=scramble(task.seed, 0))
        self._every = math.ceil(task.config.steps / CHECKS)
        self._losses: list[Tensor] = []
        self.checks = [Check(step=0, held_out=task.measured(), loss=None)]
        self._best, self._kept = self.checks[0], free.kept()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with a learning rate for each tensor in its own size."""
        return torch.optim.Adam(self._free.groups(self._task.config.lr), fused=True)

    def training_step(self, chunk: Tensor) -> None:
        """Run one chunk of optimisation steps.

        Args:
            chunk: First step and the step after the last, shape (2,).
        """
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        begin, end = chunk.tolist()
        for step in range(begin, end):
            self.step(step, optimizer)
            if (step + 1) % self._every == 0 or step + 1 == self._task.config.steps:
                self._check(step + 1)
        self._report(end - begin)

    def step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Run one optimisation step.

        Args:
            step: Its number, from 0.
            optimizer: What `configure_optimizers` made.
        """
        cosine = 0.5 * (1 + math.cos(math.pi * step / self._task.config.steps))
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("first_lr", group["lr"]) * cosine
        optimizer.zero_grad()
        self._free.lend()
        loss = self.loss(self._task.learned[self._order.at(step)], step)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self._free.keep_positive()
        self._losses.append(loss.detach())

    def loss(self, index: Tensor, step: int) -> Tensor:
        """Compute what is minimised.

        Args:
            index: The images, shape (B,).
            step: The step, by which they are augmented.

        Returns:
            One number.
        """
        task, network = self._task, self._task.network
        x = full = self.augmentation.apply(task.images.take(index), step)
        weight, errors = task.config.boundary, []
        with torch.autocast(x.device.type, torch.bfloat16, enabled=task.precision == "bf16"):
            for low, unit in zip(network.low, network.full, strict=True):
                x = low(x)
                if self.augmentation or weight:
                    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                        full = unit(full)
                if weight and low is not network.low[-1]:
                    errors.append(relative_error(x.to(full.dtype), full))
        loss = task.loss(x.to(task.outputs.dtype), full if self.augmentation else task.outputs[index])
        return loss + weight * torch.stack(errors).mean() if errors else loss

    def _check(self, step: int) -> None:
        """Look at the held-out images, and keep what is better than everything before."""
        self._free.settle()
        loss = float(torch.stack(self._losses).mean())
        self._losses = []
        self.checks.append(Check(step=step, held_out=self._task.measured(), loss=loss))
        if self.checks[-1].held_out < self._best.held_out:
            self._best, self._kept = self.checks[-1], self._free.kept()

    def choose(self) -> Check:
        """Give the network the best that it has come by.

        Returns:
            The check that found it.
        """
        self._free.restore(self._kept)
        return self._best
