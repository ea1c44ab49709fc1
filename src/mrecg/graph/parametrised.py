"""Weights that are computed from others at each call become plain weights."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from mrecg.errors import GraphError
from mrecg.graph.hooks import has_hooks
from mrecg.graph.intake import one_line
from mrecg.graph.ops import WEIGHT_LAYERS


@torch.no_grad()
def make_plain(model: nn.Module) -> list[str]:
    """Replace parametrisations (torch.nn.utils.parametrize) by what they give in evaluation mode.

    Args:
        model: From `mrecg.graph.intake.take`; changed in place.

    Returns:
        A note that names the weights, if there are any.

    Raises:
        GraphError: A parametrisation cannot be evaluated.
    """
    plain = []
    for path, module in list(model.named_modules()):
        if parametrize.is_parametrized(module):
            kinds = module.parametrizations
            assert isinstance(kinds, nn.ModuleDict)
            plain += [f"{path}.{name}".removeprefix(".") for name in kinds]
            _settle(path, module, list(kinds))
    for path, module in model.named_modules():
        if type(module) in WEIGHT_LAYERS and not isinstance(module._parameters.get("weight"), nn.Parameter):
            _take_attribute(path, module)
        if type(module) in WEIGHT_LAYERS and not has_hooks(module):
            # What a weight was computed from is not needed any more, and would be saved with the layer.
            for table in (module._parameters, module._buffers):
                for name in set(table) - {"weight", "bias"}:
                    del table[name]
    named = ", ".join(plain[:5]) + (f" and {len(plain) - 5} more" if len(plain) > 5 else "")
    return [f"weights that parametrisations compute are plain weights: {named}"] if plain else []


def _take_attribute(path: str, module: nn.Module) -> None:
    """Make a weight that is a plain attribute, or a buffer, a parameter."""
    value = getattr(module, "weight", None)
    if not isinstance(value, torch.Tensor):
        raise GraphError(f"{path} ({type(module).__name__}) has no weight before it is called")
    delattr(module, "weight")
    module.weight = nn.Parameter(value.detach().clone(), requires_grad=False)


def _settle(path: str, module: nn.Module, names: list[str]) -> None:
    values = {}
    for name in names:
        try:
            values[name] = getattr(module, name)
        except Exception as error:  # a parametrisation's own code may raise anything
            raise GraphError(f"{path}: the parametrisation of {name} fails: {one_line(error)}") from error
    # Each parametrised module has a class of its own, which holds nothing but the parametrised names.
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module._modules["parametrizations"]
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value.detach().clone(), requires_grad=False))
