"""Weight ranges by the error that they make in the output of their layers, with full-precision inputs."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mrecg.quant.input_moments import Moments
from mrecg.quant.modules import QuantizedLayer, layers_of, quantization
from mrecg.quant.output_search import search

IMAGES = 64
"""Images from which moments of inputs are taken, at most: each has many positions."""


def find_ranges(unit: nn.Module, batches: Iterable[Tensor]) -> None:
    """Find the grids of a unit's weights, and round to nearest.

    Args:
        unit: A quantized unit, changed in place.
        batches: What enters it in full precision, shape (B, ...) each.
    """
    moments = [Moments(layer) for layer in layers_of(unit)]
    if not moments:
        return
    hooks = [watch(each.arrangement.layer, each.add) for each in moments]
    try:
        with quantization(unit, weights=False, activations="off"):
            for x in batches:
                unit(x)
    finally:
        for hook in hooks:
            hook.remove()
    for each in moments:
        layer = each.arrangement.layer
        rows = each.problem(each.arrangement.rows(layer.reference.detach()), centred=False)
        found = search(rows, symmetric=layer.symmetric)
        layer.round_on(found.scale, found.zero_point)


def watch(layer: QuantizedLayer, told: Callable[[Tensor], None]) -> RemovableHandle:
    """Tell what enters a layer whenever it runs.

    Args:
        told: Gets the layer's input.

    Returns:
        The hook, which its user removes.
    """
    return layer.register_forward_pre_hook(lambda module, inputs: told(inputs[0]))
