"""How torch computes during a run, as its configuration says."""

import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from mrecg.config.schema import Precision, RunConfig
from mrecg.quant.kernels.switch import fused
from mrecg.system.allocator import recycling
from mrecg.system.devices import processors, resolve_device
from mrecg.system.tf32 import float32_as, refuse_precision
from mrecg.system.variables import WORKERS


def device_of(config: RunConfig) -> torch.device:
    """Find the device of a run.

    Returns:
        The device, or the first of several.

    Raises:
        ConfigError: It is not there, or does not compute as the run asks for.
    """
    device = resolve_device(config.trainer.device, config.trainer.devices)
    refuse_precision(config.precision, device)
    return device


@contextmanager
def computing(*, threads: int | None, kernels: str, precision: Precision = 32) -> Iterator[None]:
    """Choose how torch computes inside the ``with`` block, and keep freed memory for reuse there.

    Args:
        threads: How many threads it uses; None: as it is, or its part where jobs share the machine.
        kernels: ``fused`` or ``plain``.
        precision: What float32 means; see `mrecg.system.tf32`.
    """
    before = torch.get_num_threads()
    workers = int(os.environ.get(WORKERS, "1"))
    # Most engines say by OMP_NUM_THREADS how many threads each of their workers may use.
    part = processors() // workers if workers > 1 and "OMP_NUM_THREADS" not in os.environ else before
    torch.set_num_threads(threads or max(1, min(part, before)))
    try:
        with float32_as(precision), fused(kernels == "fused"), recycling(), keeping_draws():
            yield
    finally:
        torch.set_num_threads(before)


def computing_as(config: RunConfig) -> AbstractContextManager[None]:
    """Choose how torch computes as a configuration says.

    Returns:
        The context of `computing`.
    """
    trainer = config.trainer
    return computing(threads=trainer.threads, kernels=trainer.kernels, precision=config.precision)


@contextmanager
def keeping_draws() -> Iterator[None]:
    """Leave the global generators of torch, numpy and Python after the ``with`` block as they were before.

    Nothing here draws from them, but a DataLoader does when an iteration begins, and so may a data set.
    """
    plain, arrays = random.getstate(), np.random.get_state()
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count()) if begun else ()
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)
