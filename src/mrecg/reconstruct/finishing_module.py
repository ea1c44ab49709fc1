"""The LightningModule that finishes a whole quantized network.

As for a group, one ``training_step`` runs a chunk of steps, and every draw follows from the seed and the
step's number. Several processes take the steps together: each runs the images of a batch that it owns.
"""

import math
from collections.abc import Callable, Sequence

import lightning as L
import torch
from torch import Tensor

from mrecg.quant.drop import scramble
from mrecg.reconstruct.augmentation import Augmentation
from mrecg.reconstruct.batch_order import Order
from mrecg.reconstruct.events import Check, FinishPoint
from mrecg.reconstruct.finishing_task import FinishTask, points_of, squared_error, tensor_of
from mrecg.reconstruct.free_parameters import FreeParameters
from mrecg.reconstruct.group_state import Partial
from mrecg.reconstruct.optimiser_state import learned_of, load_learned, load_optimizer, optimizer_state

CHECKS = 10
"""How often held-out images are looked at."""


class NetworkFinishing(L.LightningModule):
    """Learns what is free in a network, and keeps the best that it has come by.

    Args:
        task: What it learns from.
        free: What it learns.
        report: Called with the new points of the curve and the number of steps done since the last call.
        keep: Called after each look at held-out images with all that the next step needs; None: nothing is
            kept.

    Attributes:
        points: The curve, from the start on.
        augmentation: What is done to the images of each step.
        diverged: Steps after which a loss was not finite, where learning ended; None: it never was.
    """

    def __init__(
        self,
        task: FinishTask,
        free: FreeParameters,
        report: Callable[[Sequence[FinishPoint], int], None],
        keep: Callable[[Partial], None] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._task, self._free, self._report, self._keep = task, free, report, keep
        batch = min(task.config.batch_size, len(task.learned))
        # Its parts are found on the CPU: a GPU would wait for the number of its images.
        self._order = Order(len(task.learned), batch, seed=task.seed, device=torch.device("cpu"))
        kind, least = task.config.augment, task.config.crop
        self.augmentation = Augmentation(kind, least=least, batch=batch, seed=scramble(task.seed, 0))
        self._every = math.ceil(task.config.steps / CHECKS)
        self._losses: list[Tensor] = []
        self._told = 0
        self._left: Partial | None = None
        self._best, self._kept = Check(step=0, loss=None, held_out=math.inf), free.kept()
        self.points: list[FinishPoint] = []
        self.diverged: int | None = None

    def begin(self, left: Partial | None) -> int:
        """Look at the held-out images before the first step, or take up what an interrupted run has left.

        Args:
            left: What ``keep`` was called with, or of another network; None: nothing.

        Returns:
            Steps that were taken.
        """
        if left is not None and load_learned(self.configure_optimizers(), left.state):
            self.points = points_of(left.state["points"])
            self._best = min((p for p in self.points if isinstance(p, Check)), key=lambda p: p.held_out)
            self._kept = [left.state[f"best.{place}"] for place in range(len(self._kept))]
            self._left = left
        else:
            self._add(Check(step=0, loss=None, held_out=self._task.measured()))
        begun = 0 if self._left is None else self._left.steps
        self._tell(begun)
        return begun

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
        if self._left is not None:
            load_optimizer(optimizer, self._left.state)
            self._left = None
        begin, end = chunk.tolist()
        for step in range(begin, end):
            if self.diverged is None:
                self.step(step, optimizer)
                self._look(step + 1, optimizer)
        self._tell(end - begin)

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
        index, shard = self._task.learned[self._order.at(step)], self._task.shard
        loss = self.loss(index, step)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
        if shard.ranks.world > 1:
            self._free.share(len(shard.part(index).rows) / len(index))
            shard.ranks.add_gradients(optimizer, [loss])
        optimizer.step()
        self._free.keep_positive()
        self._losses.append(loss)

    def loss(self, index: Tensor, step: int) -> Tensor:
        """Compute what is minimised.

        Args:
            index: The images, shape (B,), on the CPU.
            step: The step, by which they are augmented.

        Returns:
            One number: this process's share, of which all make the sum.
        """
        task, weight = self._task, self._task.config.boundary
        part = task.shard.part(index)
        own = part.own.to(task.outputs.device)
        x = self.augmentation.apply(task.images.take(own), step, part.rows) if len(own) else None
        targets = [] if x is None else self._targets(x, own)
        norms = task.outputs.new_zeros(len(task.network.low) if weight else 1)
        for place, target in enumerate(targets):
            norms[place] = task.norm(target) if place == len(targets) - 1 else target.square().sum()
        task.shard.ranks.add([norms])
        if x is None:
            return norms.new_zeros(())
        with torch.autocast(x.device.type, torch.bfloat16, enabled=task.precision == "bf16"):
            found = task.values(x, quantized=True)
        *outs, out = [each.to(task.outputs.dtype) for each in found[-len(targets) :]]
        norms.clamp_min_(torch.finfo(norms.dtype).tiny)
        loss = task.difference(out, targets[-1]) / norms[-1]
        errors = [squared_error(*each) for each in zip(outs, targets[:-1], strict=True)]
        return loss + weight * (torch.stack(errors) / norms[:-1]).mean() if errors else loss

    @torch.no_grad()
    def _targets(self, x: Tensor, own: Tensor) -> list[Tensor]:
        """What full precision has after each unit, or after the last alone where no other counts."""
        task = self._task
        if not self.augmentation and not task.config.boundary:
            return [task.outputs[own]]
        found = task.values(x, quantized=False)
        return found if task.config.boundary else found[-1:]

    def _look(self, done: int, optimizer: torch.optim.Optimizer) -> None:
        """After so many steps, add a point to the curve if there is to be one."""
        checked = done % self._every == 0 or done == self._task.config.steps
        if not checked and done % self._task.log_every:
            return
        loss = float(torch.stack(self._losses).mean())
        self._losses = []
        if checked:
            self._free.settle()
        held_out = self._task.measured() if checked else None
        if not math.isfinite(loss + (held_out or 0)):
            self.diverged = done
        elif held_out is None:
            self.points.append(FinishPoint(step=done, loss=loss, held_out=None))
        else:
            self._add(Check(step=done, loss=loss, held_out=held_out))
            self._save(done, optimizer)

    def _save(self, done: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep what the next step needs, if there is a next one."""
        if self._keep is not None and done < self._task.config.steps:
            best = {f"best.{place}": value for place, value in enumerate(self._kept)}
            state = learned_of(optimizer) | optimizer_state(optimizer) | best
            self._keep(Partial(steps=done, state=state | {"points": tensor_of(self.points)}))

    def _add(self, check: Check) -> None:
        """Keep what is better than everything before."""
        self.points.append(check)
        if check.held_out < self._best.held_out:
            self._best, self._kept = check, self._free.kept()

    def _tell(self, done: int) -> None:
        """Report the points since the last report."""
        self._report(self.points[self._told :], done)
        self._told = len(self.points)

    def choose(self) -> Check:
        """Give the network the best that it has come by.

        Returns:
            The check that found it.
        """
        self._free.restore(self._kept)
        return self._best
