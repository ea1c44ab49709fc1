"""Checks on what a quantized network's layers read, by values alone."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer

EVEN = 0.03
"""Largest distance of a value from its grid point, in steps of the grid."""


@dataclass(frozen=True)
class Seen:
    """The different values of a tensor, in order."""

    values: Tensor

    def one_grid(self, bits: int) -> bool:
        """Whether they stand on an even grid of at most so many bits."""
        values = self.values.double()
        if len(values) < 2:
            return True
        gaps = values.diff()
        gaps = gaps[gaps > 1e-6 * (values[-1] - values[0])]
        places = (values - values[0]) / gaps.min()
        return bool((places - places.round()).abs().max() < EVEN) and float(places[-1]) < 2**bits - 0.5


@torch.no_grad()
def inputs_of_layers(model: nn.Module, images: Tensor) -> dict[str, Seen]:
    """Run a quantized network and collect what each weight layer reads."""
    return _seen(model, images, QuantizedLayer, before=True)


@torch.no_grad()
def outputs_of_quantizers(model: nn.Module, images: Tensor) -> dict[str, Seen]:
    """Run a quantized network and collect what each activation quantizer gives."""
    return _seen(model, images, ActivationQuantizer, before=False)


def _seen(model: nn.Module, images: Tensor, kind: type[nn.Module], *, before: bool) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    hooks = [
        part.register_forward_hook(
            lambda _, args, out, name=name: found.__setitem__(
                name, Seen((args[0] if before else out).unique())
            )
        )
        for name, part in model.named_modules()
        if isinstance(part, kind)
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    return found
