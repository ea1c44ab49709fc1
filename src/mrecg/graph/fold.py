"""Fold BatchNorm into the layer before it."""

import copy

import torch
from torch import fx, nn

from mrecg.graph.ops import is_weight_layer, module_of

UNFOLDED = "unfolded"
"""Key in the graph module's ``meta``: by path of a layer, the layer and its BatchNorm as they were."""


def fold_batch_norms(traced: fx.GraphModule) -> list[str]:
    """Fold every BatchNorm that directly follows a weight layer used only by it.

    Args:
        traced: The graph, changed in place; its ``meta`` keeps what was folded, for methods that need the
            statistics of BatchNorm.

    Returns:
        Paths of the BatchNorms that stay, because something else stands before them.
    """
    left = []
    kept: dict[str, nn.Sequential] = {}
    for node in list(traced.graph.nodes):
        norm = module_of(node)
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        source = node.all_input_nodes[0]
        if not (is_weight_layer(source) and len(source.users) == 1 and _folds(source, norm)):
            left.append(str(node.target))
            continue
        layer = module_of(source)
        assert layer is not None
        kept[str(source.target)] = nn.Sequential(copy.deepcopy(layer), norm)
        _fold(layer, norm)
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
    traced.meta[UNFOLDED] = kept
    return left


def _folds(source: fx.Node, norm: nn.modules.batchnorm._BatchNorm) -> bool:
    layer = module_of(source)
    same_width = not isinstance(layer, nn.Linear) or layer.out_features == norm.num_features
    return same_width and norm.running_mean is not None and norm.running_var is not None


def _fold(layer: nn.Module | None, norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Give a layer new parameters that include the BatchNorm behind it; computed in float64."""
    assert isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    assert norm.running_mean is not None and norm.running_var is not None
    mean, factor = norm.running_mean.double(), torch.rsqrt(norm.running_var.double() + norm.eps)
    factor = factor if norm.weight is None else factor * norm.weight.double()
    shift = 0.0 if norm.bias is None else norm.bias.double()
    weight = layer.weight.double()
    rows = factor.reshape(-1, 1)
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        # Its weight is (inputs, outputs / groups, ...): each group of inputs has output channels of its own.
        rows = factor.reshape(layer.groups, -1).repeat_interleave(layer.in_channels // layer.groups, dim=0)
    rows = rows.reshape(*rows.shape, *(1 for _ in range(weight.dim() - 2)))
    bias = (0.0 if layer.bias is None else layer.bias.double()) - mean
    layer.bias = nn.Parameter((bias * factor + shift).to(layer.weight.dtype), requires_grad=False)
    layer.weight = nn.Parameter((weight * rows).to(layer.weight.dtype), requires_grad=False)
