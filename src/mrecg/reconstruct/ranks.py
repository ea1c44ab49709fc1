"""The processes that reconstruct together: who owns which image, and what they tell each other.

Every process (rank) runs the same walk in step with the others, and holds the activations of its own images
only. What is measured over all images is added up; what must be equal everywhere comes from rank 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that reconstruct together; alone by default, and then nothing is sent.

    Attributes:
        rank: Its number, from 0.
    """

    rank: int = 0
    world: int = 1

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Add up numbers over all processes.

        Args:
            numbers: One or more.

        Returns:
            The sums, the same everywhere; alone the numbers as they are.
        """
        if self.world == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Add up tensors over all processes, in place, all at once.

        Args:
            tensors: On one device, the same shapes and types everywhere.
        """
        for same in _by_type(tensors) if self.world > 1 else []:
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            _fill(same, flat)

    @torch.no_grad()
    def add_gradients(self, optimizer: torch.optim.Optimizer, losses: Sequence[Tensor]) -> None:
        """Add up the gradients of all that an optimiser learns, and losses, over all processes.

        By hand and at once, not by the hooks of DistributedDataParallel: the gradient of the rounding does
        not come from autograd, and a process without images of a batch has no backward pass.

        Args:
            optimizer: The optimiser; a gradient that is missing counts as 0.
            losses: One number each.
        """
        learned = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add([*(parameter.grad for parameter in learned), *losses])

    @torch.no_grad()
    def agree(self, tensors: Sequence[Tensor]) -> None:
        """Take over the values of rank 0, in place.

        Args:
            tensors: On one device, the same shapes and types everywhere.
        """
        for same in _by_type(tensors) if self.world > 1 else []:
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
            dist.broadcast(flat, 0)
            _fill(same, flat)

    def agreed(self, value: T) -> T:
        """Give what rank 0 has.

        Args:
            value: Rank 0's is sent, so it must be possible to pickle it; the others' are not looked at.

        Returns:
            Rank 0's value.
        """
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]


class Part(NamedTuple):
    """What a process has of a batch; it may be nothing.

    Attributes:
        rows: Places in the batch, ascending, shape (n,), on the CPU.
        own: Where these images stand among the process's own, shape (n,), on the CPU.
    """

    rows: Tensor
    own: Tensor


@dataclass(frozen=True)
class Shard:
    """The images that a process owns: those of every so-many-th block, in their order.

    Attributes:
        images: How many images all processes have together.
        block: Images that stay together.
    """

    images: int
    ranks: Ranks = Ranks()
    block: int = 1

    @cached_property
    def owned(self) -> Tensor:
        """Numbers of the process's own images, ascending, shape (own images,)."""
        everything = torch.arange(self.images)
        return everything[everything // self.block % self.ranks.world == self.ranks.rank]

    def of(self, rank: int) -> "Shard":
        """The shard of another process."""
        return Shard(self.images, Ranks(rank, self.ranks.world), self.block)

    def before(self, images: int) -> int:
        """Count the own ones among the first images; they come first among the own.

        Args:
            images: How many of all images.

        Returns:
            0 to the number of own images.
        """
        return int((self.owned < images).sum())

    def part(self, index: Tensor) -> Part:
        """Find the own images in a batch.

        Args:
            index: The batch, shape (B,), on the CPU.

        Returns:
            The part; the parts of all processes make the batch.
        """
        number, world = index // self.block, self.ranks.world
        rows = (number % world == self.ranks.rank).nonzero().flatten()
        # All own blocks before it are full.
        own = number[rows] // world * self.block + index[rows] % self.block
        return Part(rows, own)


def _by_type(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    kinds = dict.fromkeys(tensor.dtype for tensor in tensors)
    return [[tensor for tensor in tensors if tensor.dtype == kind] for kind in kinds]


def _fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))
