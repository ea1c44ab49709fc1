"""Reading what user programs hand over: the same images in every pass, and errors that name the place."""

import operator
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from mrecg.errors import DataError, MrecgError, out_of_memory, short

_TAKEN = ("num_workers", "timeout", "worker_init_fn", "multiprocessing_context")


def indices_of(loader: DataLoader[Any], seed: int) -> list[list[int]] | None:
    """List which items a loader puts into which batch.

    Args:
        loader: It may shuffle, or take a part of its data set.
        seed: Of a shuffle that has no generator of its own.

    Returns:
        Indices by batch; None where there are none: the data set is a stream, or the loader makes its batches
        in a way of its own.
    """
    own = type(loader).__iter__ is not DataLoader.__iter__
    if own or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    generators = [
        found
        for found in (loader.generator, getattr(loader.sampler, "generator", None))
        if isinstance(found, torch.Generator)
    ]
    states = [generator.get_state() for generator in generators]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        found = [list(batch) for batch in loader.batch_sampler]
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    try:  # a sampler may give the whole numbers of numpy or torch
        return [[operator.index(index) for index in batch] for batch in found]
    except TypeError:
        return None


def reading(loader: DataLoader[Any], batches: Sequence[Sequence[int]], seed: int) -> Iterator[Any]:
    """Read batches as a loader would: with its collate function and its processes.

    Args:
        batches: Indices by batch.
        seed: Of what a data set draws, for example its random crops.

    Yields:
        What the loader's collate function gives.
    """
    taken = {name: getattr(loader, name) for name in _TAKEN}
    again: DataLoader[Any] = DataLoader(
        loader.dataset,
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=loader.collate_fn,
        generator=torch.Generator().manual_seed(seed),
        **taken,
    )
    yield from again


def item(given: Any, index: int, name: str) -> Any:
    """Read one item; what a data set raises is an error that names the item.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return given[index]
    except MrecgError:
        raise
    except Exception as error:  # whatever a data set does with what it cannot read
        if out_of_memory(error):
            raise
        raise DataError(f"{name} cannot be read: {_reason(error)}") from error


def guarded(batches: Iterable[Any], name: str) -> Iterator[Any]:
    """Name the batch at which an iterable of a user fails.

    Args:
        name: The argument.

    Yields:
        The batches.

    Raises:
        DataError: One cannot be read.
    """
    number = 0
    try:
        for batch in batches:
            yield batch
            number += 1
    except MrecgError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise DataError(f"{name} batch {number} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say what was raised; what comes from a loader's process is a page that ends with that."""
    lines = str(error).strip().splitlines()
    if lines and lines[0].startswith("Caught "):
        return short(lines[-1], 200)
    return f"{type(error).__name__}: {short(error, 200)}"


class seeded:  # noqa: N801
    """Seed the global generators, from which data sets draw their crops, for a ``with`` block."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._before = torch.get_rng_state(), random.getstate(), np.random.get_state()
        torch.default_generator.manual_seed(self._seed)
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)

    def __exit__(self, *error: object) -> None:
        torch.set_rng_state(self._before[0])
        random.setstate(self._before[1])
        np.random.set_state(self._before[2])
