"""The LightningModule that optimises one group.

One ``training_step`` runs a chunk of optimisation steps (manual optimisation), so that Lightning's own cost
of a step is paid once a chunk. Every random draw follows from the group's seed and the step's number: no
generator has a state to keep.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from mrecg.config.schema import Precision
from mrecg.quant.drop import Drop
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.rounding import beta_at
from mrecg.reconstruct.cache import GroupCache
from mrecg.reconstruct.loss import reconstruction_loss
from mrecg.reconstruct.methods import Pass
from mrecg.reconstruct.order import Order
from mrecg.reconstruct.records import CurvePoint
from mrecg.reconstruct.replay import Replay
from mrecg.reconstruct.soft import SoftRounding

SMALLEST_SCALE = 1e-6
"""Activation steps are kept at least this large, so that they stay positive."""


class _Adam(torch.optim.Adam):
    """Adam that does not look for GPUs in every step: on the CPU that is a tenth of a small unit's step."""

    def _cuda_graph_capture_health_check(self) -> None:
        if any(p.is_cuda for group in self.param_groups for p in group["params"]):
            super()._cuda_graph_capture_health_check()


class Losses(NamedTuple):
    """The losses of a step, where they were computed.

    Attributes:
        step: Its number.
        reconstruction: One number.
        rounding: One number; None while the regulariser is off.
        beta: Exponent of the regulariser; None while it is off.
    """

    step: int
    reconstruction: Tensor
    rounding: Tensor | None
    beta: float | None


def _read(logged: Sequence[Losses]) -> list[CurvePoint]:
    """Read the losses of a chunk's logged steps, all at once."""
    if not logged:
        return []
    none = torch.zeros_like(logged[0].reconstruction)
    parts = [part for each in logged for part in (each.reconstruction, each.rounding)]
    numbers = iter(torch.stack([none if part is None else part for part in parts]).tolist())
    return [
        CurvePoint(
            step=each.step,
            reconstruction=reconstruction,
            rounding=None if each.rounding is None else rounding,
            total=reconstruction + rounding,
            beta=each.beta,
        )
        for each, reconstruction, rounding in zip(logged, numbers, numbers, strict=True)
    ]


class GroupReconstruction(L.LightningModule):
    """Learns the rounding and the activation steps of one group.

    Args:
        units: The group's quantized units in order.
        task: What the method's pass learns, and how.
        cache: Inputs and targets, on the device of the optimisation.
        steps: Optimisation steps.
        batch: Images a step.
        log_every: Steps between two points of the curve.
        precision: Of convolutions and linear layers.
        graphs: Whether steps are recorded as CUDA graphs and replayed.
        seed: Seed of this group's draws.
        report: Called behind each chunk with the points logged in it and the number of its steps.

    Attributes:
        order: Which images each step sees.
        drop: The draws of quantization drop.
        places: How many of them a step takes.
        rounding: The soft rounding; None where there is nothing to round.
    """

    def __init__(
        self,
        units: Sequence[nn.Module],
        *,
        task: Pass,
        cache: GroupCache,
        steps: int,
        batch: int,
        log_every: int,
        precision: Precision,
        graphs: bool,
        seed: int,
        report: Callable[[Sequence[CurvePoint], int], None],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.group = nn.Sequential(*units)
        self.task, self.steps, self.batch, self.log_every = task, steps, batch, log_every
        self._cache, self._report = cache, report
        self._bf16 = precision == "bf16"
        self.drop = Drop(task.keep, seed)
        self.order = Order(cache.quantized.images, batch, seed=seed, device=cache.quantized.device)
        self.rounding = (
            SoftRounding(layers_of(self.group)) if task.rounding and layers_of(self.group) else None
        )
        quantizers = activations_of(self.group)
        self.places = 1 + len(quantizers) if task.keep < 1 else 0
        self._scales: list[Tensor] = [q.scale for q in quantizers] if task.scales else []
        self._rates: list[tuple[float, bool]] = []
        self._graphs = graphs
        self._replay: Replay | None = None

    def cpu(self) -> "GroupReconstruction":
        """Stay where it is: Lightning ends each fit by this call, and the units belong to the network."""
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam with a learning rate each for alpha and for the activation steps."""
        groups: list[dict[str, object]] = []
        self._rates = []
        if self.rounding is not None and self.task.rounding is not None:
            groups.append({"params": [self.rounding.alpha]})
            self._rates.append((self.task.rounding.lr, False))
        if self._scales and self.task.scales is not None:
            groups.append({"params": self._scales})
            self._rates.append((self.task.scales.lr, self.task.scales.cosine))
        return _Adam(groups, fused=True, capturable=self.order.device.type == "cuda")

    def training_step(self, chunk: Tensor) -> None:
        """Run one chunk of optimisation steps.

        Args:
            chunk: First step and the step behind the last, shape (2,).
        """
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        begin, end = chunk.tolist()
        logged = []
        mode = "off" if self.task.activations == "off" else "drop" if self.task.keep < 1 else "on"
        with quantization(self.group, activations=mode, drop=self.drop):  # type: ignore[arg-type]
            for step in range(begin, end):
                losses = self.step(step, optimizer)
                if step % self.log_every == 0 or step == self.steps - 1:
                    logged.append(losses)
        self._report(_read(logged), end - begin)

    def step(self, step: int, optimizer: torch.optim.Optimizer) -> Losses:
        """Run one optimisation step; quantization of the group has been switched as the pass wants it.

        Args:
            step: Its number, from 0.
            optimizer: What `configure_optimizers` made.

        Returns:
            Its losses, on the device: reading them would wait for it.
        """
        if self._graphs:
            if self._replay is None:
                self._replay = Replay(self, optimizer)
            return self._replay.step(step)
        self.drop.begin(step)
        for part, rate in zip(optimizer.param_groups, self.rates(step), strict=True):
            part["lr"] = rate
        return self.losses(step, *self.compute(self.order.at(step), self.beta(step), optimizer))

    def compute(
        self, index: Tensor, beta: float | Tensor | None, optimizer: torch.optim.Optimizer
    ) -> tuple[Tensor, Tensor | None]:
        """Forward, backward, and a step of the optimiser.

        Args:
            index: The images, shape (batch,).
            beta: Exponent of the regulariser; None leaves it out.
            optimizer: With the step's learning rates.

        Returns:
            Reconstruction loss and regulariser, one number each; None where that was left out.
        """
        x = self._cache.quantized.take(index)
        if self.task.keep < 1:
            x = self.drop.mix(x, self._cache.full.take(index))
        if self.rounding is not None:
            self.rounding.lend()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bf16):
            out = self.group(x)
        reconstruction = reconstruction_loss(out.to(x.dtype), self._cache.target.take(index))
        optimizer.zero_grad()
        reconstruction.backward()  # type: ignore[no-untyped-call]
        penalty = None
        if self.rounding is not None and self.task.rounding is not None:
            penalty = self.rounding.collect(weight=self.task.rounding.regulariser, beta=beta)
        optimizer.step()
        if self._scales:
            with torch.no_grad():
                torch._foreach_clamp_min_(self._scales, SMALLEST_SCALE)
        return reconstruction.detach(), penalty

    def beta(self, step: int) -> float | None:
        """Exponent of the regulariser in a step; None where there is none."""
        plan = self.task.rounding
        if self.rounding is None or plan is None or plan.regulariser == 0:
            return None
        return beta_at(
            step,
            self.steps,
            warmup=plan.warmup,
            start=plan.beta_start,
            end=plan.beta_end,
            decay=plan.beta_decay,
        )

    def rates(self, step: int) -> list[float]:
        """Learning rate of each of the optimiser's groups in a step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return [rate * cosine if falls else rate for rate, falls in self._rates]

    def losses(self, step: int, reconstruction: Tensor, rounding: Tensor | None) -> Losses:
        """Put a step's losses together."""
        return Losses(step, reconstruction, rounding, self.beta(step))

    def harden(self) -> None:
        """Fix the rounding that was learned."""
        if self.rounding is not None:
            self.rounding.harden()
