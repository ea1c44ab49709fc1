"""Run the steps of a group under Lightning."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from mrecg.methods.passes import Pass
from mrecg.quant.modules import activations_of, layers_of, zero_points_of
from mrecg.reconstruct.ranks import Ranks


def fit_in_chunks(
    module: L.LightningModule, steps: range, chunk: int, device: torch.device, *, ranks: Ranks | None = None
) -> None:
    """Let Lightning run the steps of a group or network, a chunk of them as one batch.

    Args:
        module: Its ``training_step`` takes the first step of a chunk and the step after the last.
        steps: Numbers of the optimisation steps; those before the first were taken by an interrupted run.
        chunk: Steps a batch.
        ranks: The processes that learn it together, each on a device of its own; None: this one alone.
    """
    edges = torch.tensor([(begin, min(begin + chunk, steps.stop)) for begin in steps[::chunk]])
    shared = ranks is not None and ranks.world > 1
    devices: list[int] | int = [device.index or 0] if device.type == "cuda" else 1
    if ranks is not None and shared:
        devices = list(range(ranks.world)) if device.type == "cuda" else ranks.world
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=devices,
        strategy=_Together(ranks) if ranks is not None and shared else "auto",
        use_distributed_sampler=False,  # everyone takes every step
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
        raise type(left.__context__)() from None


class _Started(LightningEnvironment):
    """Tells Lightning about processes that are there already."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return self._ranks.rank


class _Together(DDPStrategy):
    """Lightning's data-parallel strategy in a process group that is there already.

    The module is not wrapped: `mrecg.reconstruct.ranks.Ranks.add_gradients` adds the gradients up.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(cluster_environment=_Started(ranks))
        self._ranks = ranks

    def _configure_launcher(self) -> None:
        """Launch nothing."""

    def setup_distributed(self) -> None:
        self.set_world_ranks()

    def configure_ddp(self) -> None:
        """Leave the module as it is."""

    def barrier(self, *args: object, **kwargs: object) -> None:
        self._ranks.total(0)


@contextmanager
def learning(units: Sequence[nn.Module], pass_: Pass) -> Iterator[None]:
    """Let gradients reach the activations' grids and the biases that are learned, and fix these at the end.

    Args:
        units: Quantized units.
        pass_: Says what is learned.
    """
    scales = pass_.scales
    biases: list[nn.Parameter] = []
    if pass_.rounding is not None and pass_.rounding.bias_lr is not None:
        owned = [layer.own_bias() for unit in units for layer in layers_of(unit)]
        biases = [bias for bias in owned if bias is not None]
    quantizers = [q for unit in units for q in activations_of(unit)] if scales else []
    shifts = scales is not None and scales.zero_point_lr is not None
    signed = [q for unit in units for q in zero_points_of(unit)] if shifts else []
    learned = [*biases, *(quantizer.scale for quantizer in quantizers)]
    for parameter in learned:
        parameter.requires_grad_(True)
    for quantizer in signed:
        quantizer.zero_point.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(False)
            parameter.grad = None
        for quantizer in signed:
            quantizer.settle_zero_point()


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
