"""Calibration images that are for measuring, and how far the network's predictions are off on them."""

import zlib
from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.graph.chain import ends_in, several_ends
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.loss import prediction_difference


def divided(images: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the images that are held out: who calls from Python may have theirs sorted by class.

    Args:
        images: How many there are.
        fraction: Of them that is held out, at least one; of a single image none is.

    Returns:
        Numbers of the images to learn from, and of those held out, each ascending.
    """
    count = min(max(1, round(images * fraction)), images - 1)
    # The finishing stage draws likewise, so what chooses there was not learned from before, either.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/finish/held_out".encode()))
    drawn = torch.randperm(images, generator=generator)
    return drawn[count:].sort().values, drawn[:count].sort().values


class Predictions:
    """The network's outputs on the images that are for measuring; on all, where none are.

    Of a network with several outputs, what leaves each unit that one of them ends in (`mrecg.graph.outputs`)
    counts, scaled to a norm of 1, from the unit on that is asked for: an output that left before is settled.

    Args:
        context: What the reconstruction works with; its process's own images count.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        network = context.network
        nodes = ends_in(network.traced.graph) if several_ends(network.traced.graph) else set()
        names = {node.name for node in nodes}
        self._ends = [i for i, unit in enumerate(network.units) if not names.isdisjoint(unit.nodes)]

    @property
    def images(self) -> int:
        """How many images all processes measure on."""
        return len(self._context.held_out) or self._context.shard.images

    def full(self, begin: int = 0) -> Tensor:
        """The full-precision output, shape (own images, ...), as `after` gives it."""
        return self._together({i: value for i, value in self._full.items() if i >= begin - 1})

    @cached_property
    @torch.no_grad()
    def _full(self) -> dict[int, Tensor]:
        return self._through(self._context.network.full, self._context.images, 0)

    @cached_property
    def _norms(self) -> dict[int, float]:
        """Norms of the full-precision outputs over the images of all processes."""
        squares = [float(value.double().square().sum()) for value in self._full.values()]
        found = self._context.shard.ranks.total(*squares)
        tiny = torch.finfo(torch.float32).tiny
        return {i: max(square**0.5, tiny) for i, square in zip(self._full, found, strict=True)}

    @torch.no_grad()
    def after(self, values: Store, begin: int) -> Tensor:
        """The output when the full-precision rest follows.

        Args:
            values: What enters the first unit of the rest, shape (N, ...).
            begin: That unit.

        Returns:
            Shape (own images, ...).
        """
        return self._together(self._through(self._context.network.full[begin:], values, begin))

    @torch.no_grad()
    def difference_with(self, index: int, values: Store) -> float:
        """How far the output is off when a quantized unit, as it is now, and the full-precision rest follow.

        Args:
            index: The unit.
            values: What enters it, shape (N, ...).

        Returns:
            As `difference`.
        """
        network = self._context.network
        units = [network.low[index], *network.full[index + 1 :]]
        return self.difference(self._together(self._through(units, values, index)), index)

    def difference(self, low: Tensor, begin: int) -> float:
        """Tell how far outputs are off, over the images of all processes.

        Args:
            low: Those of the process's own images, shape (own images, ...).
            begin: The first unit that they come from.

        Returns:
            As `output_difference`.
        """
        full, ranks = self.full(begin), self._context.shard.ranks
        if ranks.world == 1:
            return output_difference(low, full)
        difference = size = 0.0
        if len(low):  # a process may have none of these images
            size = float(len(full) if full.ndim == 2 else full.double().square().sum())
            difference = size * output_difference(low, full)
        difference, size = ranks.total(difference, size)
        return difference / max(size, torch.finfo(torch.float64).tiny)

    def _through(self, units: Sequence[nn.Module], values: Store, begin: int) -> dict[int, Tensor]:
        """Run units; gives by its place what leaves each that counts, and what enters if that does."""
        ends = self._ends or [len(self._context.network.full) - 1]
        found: dict[int, list[Tensor]] = {}
        for own in torch.split(self._context.measured_on, self._context.settings.eval_batch):
            # A process may have none of these images; another one tells what the outputs are like.
            x = values.take(own if len(own) else torch.zeros(1, dtype=torch.long))
            for i, unit in enumerate([nn.Identity(), *units], start=begin - 1):
                x = unit(x)
                if i in ends:
                    found.setdefault(i, []).append(x[: len(own)])
        return {i: torch.cat(parts) for i, parts in found.items()}

    def _together(self, points: dict[int, Tensor]) -> Tensor:
        """Lay together what counts; one output alone is left as it is."""
        if not self._ends:
            (alone,) = points.values()
            return alone
        rows = [value.flatten(1) / self._norms[i] for i, value in points.items()]
        return torch.cat(rows, 1).unsqueeze(-1)


def differences(low: Tensor, full: Tensor) -> Tensor:
    """Tell how far a network's output is off, image by image.

    Args:
        low: The quantized network's, shape (N, classes), or any other.
        full: The full-precision one's, same shape.

    Returns:
        Shape (N,), float64: the Kullback-Leibler divergence of the class probabilities, in nats; for outputs
        that are no logits the squared error.
    """
    low, full = low.double(), full.double()
    if low.ndim == 2:
        logs = (F.log_softmax(low, 1), F.log_softmax(full, 1))
        return F.kl_div(*logs, reduction="none", log_target=True).sum(1)
    return (low - full).square().flatten(1).sum(1)


def output_squares(low: Tensor, full: Tensor) -> tuple[float, float]:
    """Tell how far one output of several is off, so that it can be summed up over batches.

    Args:
        low: The quantized network's, any shape.
        full: The full-precision one's, same shape.

    Returns:
        ``||low - full||^2`` and ``||full||^2``; of class indices how many differ, and how many there are.
    """
    if not full.is_floating_point():
        return float((low != full).sum()), float(full.numel())
    low, full = low.double(), full.double()
    return float((low - full).square().sum()), float(full.square().sum())


def output_difference(low: Tensor, full: Tensor) -> float:
    """Tell how far a network's output is off.

    The squared error of logits is a poor judge where it is large: it can fall while predictions get worse.

    Args:
        low: The quantized network's, shape (N, classes), or any other.
        full: The full-precision one's, same shape.

    Returns:
        The Kullback-Leibler divergence of the class probabilities, mean over the images, in nats; for outputs
        that are no logits the relative error ``||low - full||^2 / ||full||^2``. At least 0.
    """
    low, full = low.double(), full.double()
    if low.ndim == 2:
        return float(prediction_difference(low, full))
    tiny = torch.finfo(torch.float64).tiny
    return float((low - full).square().sum() / full.square().sum().clamp_min(tiny))
