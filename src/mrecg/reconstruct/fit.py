"""Run the steps of a group under Lightning."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from mrecg.quant.modules import activations_of, zero_points_of
from mrecg.reconstruct.methods import LearnScales
from mrecg.reconstruct.unit_module import GroupReconstruction


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
def learning(units: Sequence[nn.Module], scales: LearnScales | None) -> Iterator[None]:
    """Let gradients reach the grids of the activations that are learned, and fix these at the end.

    Args:
        units: Quantized units.
        scales: What is learned; None: nothing.

    Yields:
        Nothing.
    """
    quantizers = [q for unit in units for q in activations_of(unit)] if scales else []
    shifts = scales is not None and scales.zero_point_lr is not None
    signed = [q for unit in units for q in zero_points_of(unit)] if shifts else []
    for quantizer in quantizers:
        quantizer.scale.requires_grad_(True)
    for quantizer in signed:
        quantizer.zero_point.requires_grad_(True)
    try:
        yield
    finally:
        for quantizer in quantizers:
            quantizer.scale.requires_grad_(False)
            quantizer.scale.grad = None
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
