"""What a unit's error does to the network's prediction, on the images that nothing learns from."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.loss import prediction_difference


class Reach:
    """Measures `output_difference` of a network that is quantized up to a unit, in full precision after it.

    Args:
        context: What the reconstruction works with; its last ``held_out`` images count, all where none are.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outputs: list[Tensor] = []

    @torch.no_grad()
    def of(self, quantized: Store, begin: int) -> float:
        """Measure.

        Args:
            quantized: What enters the full-precision rest, shape (N, ...).
            begin: The first unit of the rest.

        Returns:
            The difference, over the images of all processes.
        """
        return self._compared(nn.Sequential(*self._context.network.full[begin:]), quantized)

    @torch.no_grad()
    def after(self, index: int, quantized: Store) -> float:
        """Measure with a quantized unit as it is now.

        Args:
            index: The unit.
            quantized: What enters it, shape (N, ...).

        Returns:
            The difference, over the images of all processes.
        """
        network = self._context.network
        return self._compared(nn.Sequential(network.low[index], *network.full[index + 1 :]), quantized)

    def _compared(self, rest: nn.Module, entering: Store) -> float:
        context = self._context
        if not self._outputs:
            network = nn.Sequential(*context.network.full)
            self._outputs = [network(x) for x in _last(context.images, context)]
        low = [rest(x) for x in _last(entering, context)]
        ranks = context.shard.ranks
        if ranks.world == 1:
            return output_difference(torch.cat(low), torch.cat(self._outputs))
        difference = size = 0.0
        if low:  # a process may have none of these images
            full = torch.cat(self._outputs).double()
            size = float(len(full) if full.ndim == 2 else full.square().sum())
            difference = size * output_difference(torch.cat(low), full)
        difference, size = ranks.total(difference, size)
        return difference / max(size, torch.finfo(torch.float64).tiny)


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


def _last(values: Store, context: Context) -> Iterator[Tensor]:
    """The images that are for measuring; all, where none are."""
    learned = context.shard.images - context.held_out if context.held_out else 0
    for begin in range(context.shard.before(learned), values.images, context.settings.eval_batch):
        yield values.take(torch.arange(begin, min(begin + context.settings.eval_batch, values.images)))
