"""Walk over the network group by group: fit, harden, advance the cache, measure."""

import logging
import signal
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mrecg.cache import Cache, CacheUse, Grid, Store
from mrecg.config.methods import LearnedRounding, Rtn
from mrecg.config.schema import CacheConfig, Precision, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan, group_name
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.cache import GroupCache, advance, deviation
from mrecg.reconstruct.methods import Pass, passes_of
from mrecg.reconstruct.records import CurvePoint, GroupResult, Listener, Silent, UnitResult
from mrecg.reconstruct.unit_module import GroupReconstruction


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The outcome.

    Attributes:
        units: Every base unit's error and loss in the finished network, in order.
        groups: Every group's curve, in the order of the optimisation.
        cache: What the rolling cache took.
    """

    units: tuple[UnitResult, ...]
    groups: tuple[GroupResult, ...]
    cache: CacheUse


def reconstruct(
    network: QuantizedNetwork,
    images: Tensor | Store,
    plan: Plan,
    *,
    method: Rtn | LearnedRounding,
    trainer: TrainerConfig,
    cache: CacheConfig,
    precision: Precision,
    seed: int,
    eval_batch: int,
    listener: Listener | None = None,
) -> Reconstruction:
    """Optimise a calibrated network, in place.

    Args:
        network: The calibrated network.
        images: Calibration images of shape (N, C, H, W), on the network's device; the cache reads them where
            they are.
        plan: Which units are optimised jointly; made for the network's units.
        method: The method's hyper-parameters.
        trainer: Steps, batch size and chunk.
        cache: How activations are kept.
        precision: Of the convolutions while a group is optimised.
        seed: Seed of all draws.
        eval_batch: Images a forward pass when the cache advances.
        listener: Who is told of every chunk and unit.

    Returns:
        Unit errors and curves. The same arguments give the same result, bit by bit, on the same machine; so
        they do wherever the cache lies, unless it is bfloat16.

    Raises:
        ConfigError: The cache has no place to be, or no room there; CUDA graphs are asked for and cannot be.
    """
    if trainer.cuda_graphs and images.device.type != "cuda":
        raise ConfigError(
            f"trainer.cuda_graphs: needs a GPU, the network is on {images.device}; set it to false"
        )
    listener = listener or Silent()
    first = images if isinstance(images, Store) else Store.of(images)
    depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
    results: list[GroupResult] = []
    units: tuple[UnitResult, ...] = ()
    with Cache(cache, first.device) as kept, quiet_lightning(), deterministic():
        walk = _Walk(network, plan, trainer, precision, kept, seed, eval_batch, listener)
        tasks = passes_of(method, depthwise=depthwise, lr_factor=trainer.lr_factor)
        for task in tasks:
            units, groups = walk.run(task, first, report_units=task is tasks[-1])
            results += groups
    return Reconstruction(units=units, groups=tuple(results), cache=kept.use)


def group_steps(members: int, trainer: TrainerConfig, share: float = 1.0) -> int:
    """Optimisation steps of a group.

    Args:
        members: Units in the group.
        trainer: Steps a unit, and whether a merged group gets them once or once a member.
        share: The pass's fraction of the steps.

    Returns:
        At least 1.
    """
    return max(1, round(share * trainer.steps * (members if trainer.steps_per == "unit" else 1)))


@dataclass
class _Walk:
    network: QuantizedNetwork
    plan: Plan
    trainer: TrainerConfig
    precision: Precision
    cache: Cache
    seed: int
    eval_batch: int
    listener: Listener

    def run(
        self, task: Pass, images: Store, *, report_units: bool
    ) -> tuple[tuple[UnitResult, ...], list[GroupResult]]:
        """Walk over all groups once."""
        steps = self._steps(task)
        self.listener.begin([group_name(group) for group in self.plan.groups], sum(steps))
        full = quantized = images
        units: list[UnitResult] = []
        groups: list[GroupResult] = []
        for number, names in enumerate(self.plan.groups):
            begin = time.perf_counter()
            first = len(units)
            members = range(first, first + len(names))
            targets: list[Store] = []
            for i in members:
                targets.append(self._advance(self.network.full[i], targets[-1] if targets else full))
            curve: list[CurvePoint] = []
            if steps[number]:
                cache = GroupCache(quantized, full, targets[-1])
                curve = self._fit(
                    [self.network.low[i] for i in members], task, cache, group_name(names), steps[number]
                )
            if full is not images:
                full.free()
            for i, name, target in zip(members, names, targets, strict=True):
                entered, quantized = quantized, self._advance_low(i, quantized, task)
                if entered is not images:
                    entered.free()
                error, loss = deviation(quantized, target, batch=self.eval_batch)
                if target is not targets[-1]:
                    target.free()
                units.append(UnitResult(name=name, group=number, error=error, loss=loss))
                if report_units:
                    self.listener.unit(i, units[-1])
            full = targets[-1]
            groups.append(
                GroupResult(
                    name=group_name(names),
                    task=task.name,
                    steps=steps[number],
                    seconds=time.perf_counter() - begin,
                    curve=tuple(curve),
                )
            )
        full.free()
        quantized.free()
        return tuple(units), groups

    def _advance(self, unit: nn.Module, values: Store, grid: Grid | None = None) -> Store:
        return advance(unit, values, self.cache, batch=self.eval_batch, grid=grid)

    def _advance_low(self, i: int, values: Store, task: Pass) -> Store:
        unit = self.network.low[i]
        quantizers = activations_of(unit) if task.activations == "on" else []
        # Nearly always the last one makes the output; the cache looks whether it does.
        grid = (quantizers[-1].scale, quantizers[-1].zero_point, quantizers[-1].top) if quantizers else None
        with quantization(unit, activations=task.activations):
            return self._advance(unit, values, grid)

    def _steps(self, task: Pass) -> list[int]:
        """Steps of every group; none where there is nothing to learn, as in a head without activations."""
        steps, begin = [], 0
        for names in self.plan.groups:
            low = self.network.low[begin : begin + len(names)]
            begin += len(names)
            rounds = task.rounding is not None and any(layers_of(unit) for unit in low)
            scales = task.scales is not None and any(activations_of(unit) for unit in low)
            steps.append(group_steps(len(names), self.trainer, task.steps) if rounds or scales else 0)
        return steps

    def _fit(
        self, units: Sequence[nn.Module], task: Pass, cache: GroupCache, name: str, steps: int
    ) -> list[CurvePoint]:
        curve: list[CurvePoint] = []

        def report(points: Sequence[CurvePoint], done: int) -> None:
            curve.extend(points)
            self.listener.curve(name, task.name, points, done)

        learned = [q.scale for unit in units for q in activations_of(unit)] if task.scales else []
        for scale in learned:
            scale.requires_grad_(True)
        if self.trainer.cuda_graphs and not cache.at_hand:
            raise ConfigError(
                f"trainer.cuda_graphs: what {name} learns from has spilled from the GPU; "
                "raise cache.budget_mb or set trainer.cuda_graphs=false"
            )
        module = GroupReconstruction(
            units,
            task=task,
            cache=cache,
            steps=steps,
            batch=min(self.trainer.batch_size, cache.quantized.images),
            log_every=self.trainer.log_every,
            precision=self.precision,
            graphs=self.trainer.cuda_graphs,
            seed=zlib.crc32(f"{self.seed}/{task.name}/{name}".encode()),
            report=report,
        )
        fit_in_chunks(module, steps, self.trainer.chunk, cache.quantized.device)
        module.harden()
        for scale in learned:
            scale.requires_grad_(False)
            scale.grad = None
        return curve


def fit_in_chunks(module: GroupReconstruction, steps: int, chunk: int, device: torch.device) -> None:
    """Let Lightning run the steps of a group, a chunk of them as one batch.

    Args:
        module: The group.
        steps: Optimisation steps.
        chunk: Steps a batch.
        device: Where the group is.
    """
    edges = torch.tensor([(begin, min(begin + chunk, steps)) for begin in range(0, steps, chunk)])
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, DataLoader(edges, batch_size=None))  # type: ignore[arg-type]
    except SystemExit as left:
        # Lightning answers Ctrl-C by leaving the process, deaf to any further Ctrl-C.
        if not isinstance(left.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep one banner and one hint a group off the screen; a reconstruction has dozens of short fits."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def deterministic() -> Iterator[None]:
    """Choose convolution algorithms that repeat themselves."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
