"""Run the steps of a group under Lightning; imported only where steps are taken: Lightning is large."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from mrecg.reconstruct.ranks import Ranks


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep one banner and one hint per fit off the screen; a reconstruction has dozens of short fits."""
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


@_quiet()
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
