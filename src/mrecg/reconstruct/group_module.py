"""The LightningModule that optimises one group.

One ``training_step`` runs a chunk of optimisation steps (manual optimisation), so that Lightning's own cost
of a step is paid once a chunk. Every random draw follows from the group's seed and the step's number: no
generator has a state to keep.
"""

import math
from collections.abc import Callable, Sequence

import lightning as L
import torch
from torch import Tensor, nn

from mrecg.quant.drop import Drop
from mrecg.quant.modules import activations_of, layers_of, quantization, zero_points_of
from mrecg.quant.rounding import beta_at
from mrecg.reconstruct.batch_order import Order
from mrecg.reconstruct.cuda_graph import NotRecordedError, Replay, not_recorded, serves
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.loss import prediction_difference, reconstruction_loss
from mrecg.reconstruct.optimiser_state import Keeper
from mrecg.reconstruct.ranks import Part
from mrecg.reconstruct.scales import LearnedScales
from mrecg.reconstruct.soft_rounding import SoftRounding
from mrecg.reconstruct.spread import spreads
from mrecg.reconstruct.step_losses import Losses, Outputs, read


class _Adam(torch.optim.Adam):
    """Adam that does not look for GPUs in every step: on the CPU that is a tenth of a small unit's step."""

    def _cuda_graph_capture_health_check(self) -> None:
        if any(p.is_cuda for group in self.param_groups for p in group["params"]):
            super()._cuda_graph_capture_health_check()


class GroupReconstruction(L.LightningModule):
    """Learns the rounding and the activation steps of one group.

    Args:
        units: The group's quantized units in order.
        task: What it learns.
        report: Called after each chunk with the points logged in it and the number of its steps.

    Attributes:
        order: Which images each step sees.
        drop: The draws of quantization drop.
        places: How many of them a step takes.
        rounding: The soft rounding; None where there is nothing to round.
        keeper: Keeps what is learned from time to time, and has what an interrupted run left; None: none.
    """

    def __init__(
        self,
        units: Sequence[nn.Module],
        task: GroupTask,
        report: Callable[[Sequence[CurvePoint], int], None],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.group = nn.Sequential(*units)
        self.pass_, self.steps = task.pass_, task.steps
        self._task, self._cache, self._report = task, task.cache, report
        self.drop = Drop(self.pass_.keep, task.seed)
        self._shard = task.shard
        count = self._cache.quantized.images if self._shard is None else self._shard.images
        # A shard's part of each batch is found on the CPU: a GPU would wait for the number of its images.
        place = self._cache.quantized.device if self._shard is None else torch.device("cpu")
        self.order = Order(count, task.batch, seed=task.seed, device=place, chosen=task.learned_from)
        self.rounding: SoftRounding | None = None
        if self.pass_.rounding and layers_of(self.group):
            self.rounding = SoftRounding.of(layers_of(self.group), self.pass_.rounding)
        quantizers = activations_of(self.group)
        self.places = 1 + len(quantizers) if self.pass_.keep < 1 else 0
        scales = self.pass_.scales
        self._scales: list[Tensor] = [q.scale for q in quantizers] if scales else []
        shifts = scales is not None and scales.zero_point_lr is not None
        self._signed = zero_points_of(self.group) if shifts else []
        learned = [] if scales is None else [(scale, scales.lr) for scale in self._scales]
        if self.rounding is not None and self.rounding.scale is not None and not self.rounding.relative:
            assert self.pass_.rounding is not None and self.pass_.rounding.scale_lr is not None
            learned.append((self.rounding.scale, self.pass_.rounding.scale_lr))
        self._learned = LearnedScales(learned)
        self._biases = self._own_biases()
        self._tail = tuple(task.tail)  # a tuple: these units belong to the network, not to this module
        self._rates: list[tuple[float, bool]] = []
        self._graphs = serves(task, self.order.device)
        self._replay: Replay | None = None
        self.keeper: Keeper | None = None

    def _own_biases(self) -> list[tuple[Tensor, float]]:
        """The biases that are learned, each with the spread of its layer's output."""
        if self.rounding is None or self.pass_.rounding is None or self.pass_.rounding.bias_lr is None:
            return []
        layers, cache = layers_of(self.group), self._cache
        index = self._task.learned_from
        index = (torch.arange(self.order.batch) if index is None else index)[: self.order.batch]
        if self._shard is not None:
            index = self._shard.part(index).own
        first = cache.quantized.take(index.to(cache.quantized.device))
        with quantization(self.group, weights=False, activations=self.pass_.activations):
            found = spreads(self.group, layers, first, self._shard.ranks if self._shard else None)
        biases = [(layer.own_bias(), spread) for layer, spread in zip(layers, found, strict=True)]
        return [(bias, spread) for bias, spread in biases if bias is not None]

    def cpu(self) -> "GroupReconstruction":
        """Stay where it is: Lightning ends each fit by this call, and the units belong to the network."""
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam with a learning rate each for alpha and for the parameters of the grids."""
        groups: list[dict[str, object]] = []
        self._rates = []

        def learn(parameters: Sequence[Tensor], rate: float | None, *, cosine: bool = True) -> None:
            if parameters and rate is not None:
                groups.append({"params": list(parameters)})
                self._rates.append((rate, cosine))

        if self.rounding is not None and self.pass_.rounding is not None:
            learn([self.rounding.alpha], self.pass_.rounding.lr, cosine=self.pass_.rounding.cosine)
            learn([] if self.rounding.scale is None else [self.rounding.scale], self.pass_.rounding.scale_lr)
            for bias, spread in self._biases:
                learn([bias], (self.pass_.rounding.bias_lr or 0.0) * spread)
        if self.pass_.scales is not None:
            learn(self._scales, self.pass_.scales.lr)
            learn([q.zero_point for q in self._signed], self.pass_.scales.zero_point_lr)
        return _Adam(groups, fused=True, capturable=self.order.device.type == "cuda")

    def training_step(self, chunk: Tensor) -> None:
        """Run one chunk of optimisation steps.

        Args:
            chunk: First step and the step after the last, shape (2,).
        """
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        begin, end = chunk.tolist()
        if self.keeper is not None:
            self.keeper.before(optimizer)
        logged = []
        mode = "off" if self.pass_.activations == "off" else "drop" if self.pass_.keep < 1 else "on"
        with quantization(self.group, activations=mode, drop=self.drop):  # type: ignore[arg-type]
            for step in range(begin, end):
                losses = self.step(step, optimizer)
                if step % self._task.log_every == 0 or step == self.steps - 1:
                    logged.append(losses)
        self._report(read(logged), end - begin)
        if self.keeper is not None:
            self.keeper.after(optimizer, begin, end, self.steps)

    def step(self, step: int, optimizer: torch.optim.Optimizer) -> Losses:
        """Run one optimisation step; quantization of the group has been switched as the pass wants it.

        Args:
            step: Its number, from 0.
            optimizer: What `configure_optimizers` made.

        Returns:
            Its losses, on the device: reading them would wait for it.

        Raises:
            ConfigError: It was to be recorded as a CUDA graph, and cannot be.
        """
        if self._graphs:
            try:
                self._replay = self._replay or Replay(self, optimizer)
                return self._replay.step(step)
            except NotRecordedError as error:
                not_recorded(self._task, error)
                self._graphs, self._replay = False, None
        self.drop.begin(step)
        for part, rate in zip(optimizer.param_groups, self.rates(step), strict=True):
            part["lr"] = rate
        return self.losses(step, self.compute(self.order.at(step), self.beta(step), optimizer))

    def compute(
        self, index: Tensor, beta: float | Tensor | None, optimizer: torch.optim.Optimizer
    ) -> Outputs:
        """Forward, backward, and a step of the optimiser.

        Args:
            index: The images, shape (batch,).
            beta: Exponent of the regulariser; None leaves it out.
            optimizer: With the step's learning rates.

        Returns:
            Reconstruction loss, prediction difference and regulariser, one number each; None where left out.
        """
        optimizer.zero_grad()
        if self.rounding is not None:
            self.rounding.lend()
        if self._shard is None:
            reconstruction, prediction = self._backward(index)
        else:
            reconstruction, prediction = self._own_backward(self._shard.part(index), len(index))
        penalty = None
        if self.rounding is not None and self.pass_.rounding is not None:
            once = self._shard is None or self._shard.ranks.rank == 0
            weight = self.pass_.rounding.regulariser if once else 0.0
            penalty = self.rounding.collect(weight=weight, beta=beta)
        if self._shard is not None:
            losses = [reconstruction] if prediction is None else [reconstruction, prediction]
            self._shard.ranks.add_gradients(optimizer, losses)
        self._learned.before()
        optimizer.step()
        self._learned.after()
        with torch.no_grad():
            for quantizer in self._signed:
                quantizer.zero_point.clamp_(0, quantizer.top)
        return reconstruction, prediction, penalty

    def _own_backward(self, part: Part, batch: int) -> tuple[Tensor, Tensor | None]:
        """Forward and backward with the own part of a batch: its share of the loss and of the gradients."""
        if not len(part.rows):
            nothing = torch.zeros((), dtype=self._cache.target.dtype, device=self._cache.target.device)
            return nothing, None if self.pass_.prediction is None else nothing.clone()
        self.drop.rows = part.rows
        share = len(part.rows) / batch
        reconstruction, prediction = self._backward(part.own, share=share, batch=batch)
        for grid in (*self._scales, *(quantizer.zero_point for quantizer in self._signed)):
            if grid.grad is not None:
                # Their gradients were divided by the root of the elements of the part, not of the batch.
                grid.grad.mul_(math.sqrt(share))
        return reconstruction * share, None if prediction is None else prediction * share

    def _backward(
        self, index: Tensor, *, share: float = 1.0, batch: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Forward and backward pass; gives the reconstruction loss and the prediction difference."""
        x = quantized = self._cache.quantized.take(index)
        if self.pass_.keep < 1:
            x = self.drop.mix(x, self._cache.full.take(index))
        if self.pass_.prediction is None:
            out, logits = self._forward(x), None
        else:
            if self.drop.rows is not None and batch is not None:
                self.drop.rows = torch.cat([self.drop.rows, self.drop.rows + batch])
            out, second = self._forward(torch.cat([x, quantized])).chunk(2)
            logits = self._forward(second, self._tail)
        weight = None if self._cache.weight is None else self._cache.weight.take(index)
        loss = reconstruction = reconstruction_loss(out, self._cache.target.take(index), weight)
        prediction = None
        if logits is not None and self.pass_.prediction is not None and self._cache.logits is not None:
            reference, temperature = self._cache.logits.take(index), self.pass_.prediction.temperature
            difference = prediction_difference(logits, reference, temperature=temperature)
            prediction = self.pass_.prediction.weight * difference
            loss = reconstruction + prediction
        (loss if share == 1 else loss * share).backward()  # type: ignore[no-untyped-call]
        return reconstruction.detach(), None if prediction is None else prediction.detach()

    def _forward(self, x: Tensor, units: Sequence[nn.Module] | None = None) -> Tensor:
        """Run the group, or other units, in the configured precision."""
        kind = x.dtype
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._task.precision == "bf16"):
            for unit in (self.group,) if units is None else units:
                x = unit(x)
        return x.to(kind)

    def beta(self, step: int) -> float | None:
        """Exponent of the regulariser in a step; None where there is none."""
        plan = self.pass_.rounding
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

    def losses(self, step: int, outputs: Outputs) -> Losses:
        """Put a step's losses together.

        Args:
            outputs: Those of `compute`.

        Returns:
            The losses, on the device.
        """
        return Losses(step, *outputs, self.beta(step))

    def harden(self) -> None:
        """Fix the rounding that was learned."""
        if self.rounding is not None:
            self.rounding.harden()
