"""DataLoaders of user programs, made to give the same images in every pass."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

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
    whole = all(isinstance(index, int) for batch in found for index in batch)
    return found if whole else None


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
