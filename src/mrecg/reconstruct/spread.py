"""How far the output of each layer spreads: the size of a step that suits its bias."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mrecg.quant.modules import QuantizedLayer
from mrecg.reconstruct.ranks import Ranks


@torch.no_grad()
def spreads(
    module: nn.Module, layers: Sequence[QuantizedLayer], x: Tensor, ranks: Ranks | None = None
) -> list[float]:
    """Run a module once, and watch its layers.

    Args:
        module: Holds the layers.
        layers: Those that are watched.
        x: What enters the module, shape (B, ...); where several processes share a batch, this one's part.
        ranks: These processes; None: this one alone.

    Returns:
        Standard deviation of the output of each layer, the same in all processes.
    """
    moments = [[0.0, 0.0, 0.0] for _ in layers]

    def watch(layer: QuantizedLayer, found: list[float]) -> torch.utils.hooks.RemovableHandle:
        def see(module: nn.Module, inputs: object, out: Tensor) -> None:
            exact = out.double()
            found[:] = float(out.numel()), float(exact.sum()), float(exact.square().sum())

        return layer.register_forward_hook(see)

    watching = [watch(*each) for each in zip(layers, moments, strict=True)]
    try:
        if len(x):
            module(x)
    finally:
        for hook in watching:
            hook.remove()
    numbers = (ranks or Ranks()).total(*(number for found in moments for number in found))
    found = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return [max(squares / n - (total / n) ** 2, 0.0) ** 0.5 if n else 0.0 for n, total, squares in found]
