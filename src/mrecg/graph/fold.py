"""Fold what only multiplies and adds per channel into the layer before it: BatchNorms, and constants."""

import copy

from torch import Tensor, fx, nn

from mrecg.graph.affine import Affine, Step, affine_step, norm_step, outputs_of
from mrecg.graph.functional_layers import fold_constants
from mrecg.graph.ops import is_weight_layer, module_of
from mrecg.graph.reads import resolve_reads

UNFOLDED = "unfolded"
"""Key in the graph module's ``meta``: by path of a layer with a BatchNorm, the layer as it was and what was
folded into it, in order, BatchNorms as they were."""


def fold(traced: fx.GraphModule, *, constants: bool = True) -> list[str]:
    """Fold the BatchNorms and constants that directly follow a weight layer and are its only readers.

    Products and sums are made in float64 and rounded once.

    Args:
        traced: The graph, changed in place; its ``meta`` keeps what was folded, for methods that need the
            statistics of BatchNorm.
        constants: Whether elementwise operations with constants are folded, too. Version 0.1.0 folded
            BatchNorms only, and its files fit graphs that are made so.

    Returns:
        Paths of the BatchNorms that stay, because something else stands before them.
    """
    kept: dict[str, nn.Sequential] = {}
    for node in [node for node in traced.graph.nodes if is_weight_layer(node)]:
        layer = module_of(node)
        assert layer is not None
        steps: list[Step] = []
        parts: list[nn.Module] = []
        while (user := _only_reader(traced, node, layer, constants=constants)) is not None:
            norm = module_of(user)
            step = _step(user, node, layer, constants=constants)
            if step is None:
                break
            steps.append(step)
            parts.append(norm if norm is not None else _shown(step, layer))
            user.replace_all_uses_with(node)
            traced.graph.erase_node(user)
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts):
            kept[str(node.target)] = nn.Sequential(copy.deepcopy(layer), *parts)
        if steps:
            _fold(layer, steps)
    traced.meta[UNFOLDED] = kept
    for node in list(traced.graph.nodes):
        if node.op == "get_attr" and not node.users:
            traced.graph.erase_node(node)
    norms = (nn.modules.batchnorm._BatchNorm,)
    return [str(node.target) for node in traced.graph.nodes if isinstance(module_of(node), norms)]


def _only_reader(
    traced: fx.GraphModule, node: fx.Node, layer: nn.Module, *, constants: bool
) -> fx.Node | None:
    if constants and resolve_reads(node, layer, outputs_of(layer)):
        fold_constants(traced)
    return next(iter(node.users)) if len(node.users) == 1 else None


def _step(user: fx.Node, node: fx.Node, layer: nn.Module, *, constants: bool) -> Step | None:
    norm = module_of(user)
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        fits = not isinstance(layer, nn.Linear) or layer.out_features == norm.num_features
        return norm_step(norm) if fits else None
    return affine_step(user, node, layer) if constants else None


def _shown(step: Step, layer: nn.Module) -> nn.Module:
    """A step as a module that follows the layer."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return Affine(step, (-1,) + (1,) * (0 if isinstance(layer, nn.Linear) else weight.dim() - 2), weight)


def _fold(layer: nn.Module, steps: list[Step]) -> None:
    """Give a layer new parameters that include what follows it; computed in float64."""
    assert isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    weight, outputs = layer.weight.double(), outputs_of(layer)
    bias = weight.new_zeros(outputs) if layer.bias is None else layer.bias.double()
    for step in (Step(*(part.to(weight.device) for part in step)) for step in steps):
        factor = step.factor.expand(outputs)
        bias = (bias - step.before) * factor + step.after
        rows = factor.reshape(-1, 1)
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            # Its weight is (inputs, outputs / groups, ...): each group of inputs has its own output channels.
            rows = factor.reshape(layer.groups, -1).repeat_interleave(
                layer.in_channels // layer.groups, dim=0
            )
        weight = weight * rows.reshape(*rows.shape, *(1 for _ in range(weight.dim() - 2)))
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
