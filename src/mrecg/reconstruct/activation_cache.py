"""Activations of all calibration images within a budget: from the GPU to the CPU's memory, then to disk."""

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mrecg.config.schema import CacheConfig
from mrecg.errors import ConfigError, out_of_memory
from mrecg.reconstruct.mapped_file import mapped
from mrecg.system.memory import available_memory

MB = 2**20
SHARE = 0.6
"""Of the memory that is available when the cache begins, unless ``cache.budget_mb`` says how much."""
LARGEST_LEVEL = 255
"""Of a grid whose integers fit into a byte."""

Grid = tuple[Tensor, Tensor, int]
"""Scale and zero point, of one element each, and the largest integer of a grid as in `mrecg.quant.affine`."""


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """What a cache took.

    Attributes:
        dtype: How values were kept: ``float32``, ``bfloat16``, or ``uint8-exact`` if any were integers.
        peak_mb: The most memory in use at a time, GPU and CPU together, MB.
        disk_mb: The most disk space in use at a time, MB.
    """

    dtype: str
    peak_mb: float
    disk_mb: float


@dataclass
class _Place:
    device: torch.device | None
    """None: disk."""
    limit: float
    used: int = 0


class Store:
    """One activation of N images. It is read; only the cache that made it writes it.

    Args:
        held: What is kept, shape (N, ...), images as (N, H, W, C).
        device: Where `take` and `batches` give their tensors.
        dtype: The floating type of what they give.
        grid: Scale and zero point where integers are held.

    Attributes:
        images: N.
        shape: (N, ...), images as (N, C, H, W).
    """

    def __init__(
        self, held: Tensor, *, device: torch.device, dtype: torch.dtype, grid: Grid | None = None
    ) -> None:
        self._values: Tensor | None = held
        self._grid = grid
        self._release: weakref.finalize[..., Store] | None = None
        self.device, self.dtype = device, dtype
        self.images = len(held)
        self.shape = tuple(_from_rows(held).shape)

    @classmethod
    def of(cls, values: Tensor) -> "Store":
        """Read a tensor that is there already; it is neither copied nor counted.

        Args:
            values: Shape (N, ...).
        """
        return cls(_rows(values), device=values.device, dtype=values.dtype)

    @property
    def at_hand(self) -> bool:
        """Whether the values lie where `take` gives them."""
        return self._held().device == self.device

    def take(self, index: Tensor) -> Tensor:
        """Pick images.

        Args:
            index: Shape (B,), integers.

        Returns:
            Shape (B, ...), on the store's device, images in channels-last order.
        """
        held = self._held()
        return self._read(held.index_select(0, index.to(held.device)))

    def batches(self, size: int) -> Iterator[Tensor]:
        """Give all images in order.

        Args:
            size: Images at a time, at most.

        Yields:
            Shape (B, ...), as from `take`; perhaps a view, so not to be changed.
        """
        for begin in range(0, self.images, size):
            yield self._read(self._held()[begin : begin + size])

    def free(self) -> None:
        """Give memory or disk space back; a second call does nothing, and nothing can be read any more."""
        self._values = None
        if self._release is not None:
            self._release()

    def _held(self) -> Tensor:
        if self._values is None:
            raise RuntimeError("this activation is not kept any more")
        return self._values

    def _read(self, held: Tensor) -> Tensor:
        values = held.to(self.device)  # integers travel as such
        if self._grid is None:
            return _from_rows(values.to(self.dtype))
        return _from_rows(_values(values, self._grid, self.dtype))


class Cache:
    """Keeps activations within a budget and counts them; a context manager that frees all at its end.

    Args:
        config: Type, place and budget.
        device: Where the activations are made and used.
        sharers: Processes of this machine with such a cache each; without a budget they share the memory.

    Raises:
        ConfigError: As from `check`.
    """

    def __init__(self, config: CacheConfig, device: torch.device, *, sharers: int = 1) -> None:
        check(config, device)
        self._config, self._device = config, device
        self._places = [_Place(at, _limit(config, at, sharers)) for at in _order(config, device)]
        self._places.append(_Place(None, math.inf))
        self._stores: weakref.WeakSet[Store] = weakref.WeakSet()
        self._peak = self._disk_peak = 0
        self._held_integers = False

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *error: object) -> None:
        for store in list(self._stores):  # a traceback may hold on to some
            store.free()

    @property
    def use(self) -> CacheUse:
        """What the cache took up to now."""
        lossless = "uint8-exact" if self._held_integers else "float32"
        return CacheUse(
            dtype="bfloat16" if self._config.dtype == "bfloat16" else lossless,
            peak_mb=round(self._peak / MB, 3),
            disk_mb=round(self._disk_peak / MB, 3),
        )

    @torch.no_grad()
    def write(self, batches: Iterator[Tensor], images: int, *, grid: Grid | None = None) -> Store:
        """Keep what an iterator gives, batch by batch; the whole is allocated once.

        Args:
            batches: Parts of shape (B, ...) in order.
            images: N, the sum of all B.
            grid: The grid on which the values may stand. With ``cache.dtype=uint8-exact`` they are held as
                its integers if all of them read back equal, else as they are.

        Returns:
            The store, of shape (N, ...).

        Raises:
            ConfigError: There is no room on disk.
        """
        if self._config.dtype != "uint8-exact" or (grid is not None and grid[2] > LARGEST_LEVEL):
            grid = None
        if grid is not None:  # a copy: scales may be learned later
            grid = grid[0].detach().clone(), grid[1].detach().clone(), grid[2]
        store: Store | None = None
        done = 0
        for batch in batches:
            values = _rows(batch)
            integers = None if grid is None else _integers(values, grid)
            if grid is not None and integers is None:
                grid = None
                store = None if store is None else self._as_values(store, done, len(batch))
            held = values if integers is None else integers
            if store is None:
                kind = torch.bfloat16 if self._config.dtype == "bfloat16" else held.dtype
                store = self._new((images, *held.shape[1:]), kind, batch.dtype, grid)
            store._held()[done : done + len(held)].copy_(held)
            done += len(held)
        if store is None or done != images:
            raise ValueError(f"{done} images came, {images} were announced")
        self._held_integers |= grid is not None
        return store

    def _as_values(self, store: Store, done: int, size: int) -> Store:
        """Hold floating point in the place of integers: a later batch has values off the grid."""
        held = store._held()
        plain = self._new(tuple(held.shape), store.dtype, store.dtype, None)
        for begin in range(0, done, size):
            end = min(begin + size, done)
            plain._held()[begin:end].copy_(_rows(store._read(held[begin:end])))
        store.free()
        return plain

    def _new(self, shape: tuple[int, ...], kind: torch.dtype, dtype: torch.dtype, grid: Grid | None) -> Store:
        size = math.prod(shape) * kind.itemsize
        held, place = self._allocate(shape, kind, size)
        store = Store(held, device=self._device, dtype=dtype, grid=grid)
        place.used += size
        self._peak = max(self._peak, sum(place.used for place in self._places[:-1]))
        self._disk_peak = max(self._disk_peak, self._places[-1].used)
        store._release = weakref.finalize(store, _give_back, place, size)
        store._release.atexit = False
        self._stores.add(store)
        return store

    def _allocate(self, shape: tuple[int, ...], kind: torch.dtype, size: int) -> tuple[Tensor, _Place]:
        *memory, disk = self._places
        for place in memory:
            if place.used + size <= place.limit:
                try:
                    return torch.empty(shape, dtype=kind, device=place.device), place
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    continue  # others have taken what was free at the start
        return mapped(self._config.folder, size, kind).view(shape), disk


def check(config: CacheConfig, device: torch.device) -> None:
    """Refuse at once what would fail hours later.

    Args:
        config: Type, place and budget.
        device: Where the activations are made and used.

    Raises:
        ConfigError: The folder cannot be written to, or the place does not go with the device.
    """
    if config.device == "cuda" and device.type != "cuda":
        raise ConfigError(f"cache.device: cuda: the network is on {device}; choose auto, cpu or disk")
    if config.folder is not None or config.device == "disk":
        mapped(config.folder, 1, torch.uint8)


def _order(config: CacheConfig, device: torch.device) -> list[torch.device]:
    """Name the memories to fill, the first one first."""
    if config.device == "disk":
        return []
    cpu = torch.device("cpu")
    return [cpu] if config.device == "cpu" or device.type == "cpu" else [device, cpu]


def _limit(config: CacheConfig, device: torch.device, sharers: int) -> float:
    own = SHARE / (sharers if device.type == "cpu" else 1)  # a GPU is shared with no other process
    return own * available_memory(device) if config.budget_mb is None else config.budget_mb * MB


def _give_back(place: _Place, size: int) -> None:
    place.used -= size


def _integers(values: Tensor, grid: Grid) -> Tensor | None:
    """Find the integers of the grid on which values lie; None where one of them would not read back equal."""
    scale, zero, top = grid
    integers = values.div(scale).round_().add_(zero).clamp_(0, top).to(torch.uint8)
    return integers if torch.equal(_values(integers, grid, values.dtype), values) else None


def _values(integers: Tensor, grid: Grid, dtype: torch.dtype) -> Tensor:
    """Read integers back by the very operations that made the values, as in `mrecg.quant.affine`."""
    scale, zero, _ = grid
    return integers.to(dtype).sub_(zero).mul_(scale)


def _rows(values: Tensor) -> Tensor:
    """Images as (N, H, W, C): the memory order of channels-last, in which picking images copies runs."""
    return values.permute(0, 2, 3, 1) if values.dim() == 4 else values


def _from_rows(held: Tensor) -> Tensor:
    return held.permute(0, 3, 1, 2) if held.dim() == 4 else held
