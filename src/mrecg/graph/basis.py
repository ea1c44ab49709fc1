"""Give values of a graph another basis; the layers around them undo it, so the outputs stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from mrecg.errors import CheckpointError
from mrecg.graph.affine import Affine, Step, outputs_of
from mrecg.graph.fold import UNFOLDED
from mrecg.graph.ops import clamp_of, is_weight_layer, module_of

REBASED = "rebased"
"""Key in the graph module's ``meta``: what a re-basis has added to the graph, see `structure`."""


@dataclass(frozen=True)
class Map:
    """A factor and a shift per channel, float64: ``x -> factor * x + shift``.

    Attributes:
        factor: Shape (C,); None: one.
        shift: Shape (C,); None: zero.
    """

    factor: Tensor | None = None
    shift: Tensor | None = None


@dataclass(frozen=True)
class Rebasis:
    """Other bases for values of a graph.

    Attributes:
        outputs: By path of a layer: what its value becomes.
        inputs: By path of a layer: what its value was, from what it becomes.
        caps: By name of a clamping node: where each channel is cut off instead, shape (C,).
    """

    outputs: Mapping[str, Map] = field(default_factory=dict)
    inputs: Mapping[str, Map] = field(default_factory=dict)
    caps: Mapping[str, Tensor] = field(default_factory=dict)


class CappedReLU(nn.Module):
    """A ReLU that ends at another value in each channel.

    Args:
        cap: Shape (C,).
    """

    cap: Tensor

    def __init__(self, cap: Tensor) -> None:
        super().__init__()
        self.register_buffer("cap", cap.reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Clamp."""
        return torch.minimum(x.relu(), self.cap)


@torch.no_grad()
def rebase(traced: fx.GraphModule, rebasis: Rebasis) -> None:
    """Change the basis of values.

    Args:
        traced: A folded graph, changed in place: what was folded into its layers, too
            (`mrecg.graph.fold.UNFOLDED`). What is added to it is listed in its ``meta``.
    """
    kept: dict[str, nn.Sequential] = traced.meta.get(UNFOLDED, {})
    biases = []
    for path, given in rebasis.inputs.items():
        biases += [path] * _read(traced.get_submodule(path), given)
        if path in kept:
            _read(kept[path][0], given)
    for path, given in rebasis.outputs.items():
        layer = traced.get_submodule(path)
        biases += [path] * _give(layer, given)
        if path in kept:
            kept[path].append(_shown(given, layer))
    for name, cap in rebasis.caps.items():
        _cap(traced, name, cap)
    traced.meta[REBASED] = {"biases": list(dict.fromkeys(biases)), "caps": list(rebasis.caps)}


def structure(traced: fx.GraphModule) -> dict[str, list[str]]:
    """List what a re-basis has added to a graph, for `restructure`.

    Returns:
        ``biases``: paths of layers that had none; ``caps``: names of clamping nodes that end at another value
        in each channel. Empty where there was no re-basis.
    """
    return dict(traced.meta.get(REBASED, {}))


def restructure(traced: fx.GraphModule, biases: Sequence[str], caps: Sequence[str]) -> None:
    """Add to a graph what a re-basis had added, without its values.

    Args:
        traced: A folded graph, changed in place.
        biases: From `structure`.
        caps: Likewise.

    Raises:
        CheckpointError: The graph has no such layer, or no such node after a layer.
    """
    layers = {str(node.target) for node in traced.graph.nodes if is_weight_layer(node)}
    clamps = {
        node.name: source
        for node in traced.graph.nodes
        if clamp_of(node) is not None and is_weight_layer(source := node.all_input_nodes[0])
    }
    if strange := [*(set(biases) - layers), *(set(caps) - set(clamps))]:
        raise CheckpointError(f"{min(strange)} was re-based there, and is not a part of this network")
    for path in biases:
        _with_bias(traced.get_submodule(path))
    for name in caps:
        layer = module_of(clamps[name])
        assert layer is not None
        _cap(traced, name, torch.ones(outputs_of(layer)))
    traced.meta[REBASED] = {"biases": list(biases), "caps": list(caps)}


def _with_bias(layer: nn.Module) -> bool:
    """Give a layer a bias; returns whether it had none."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer.bias, Tensor):
        return False
    layer.bias = nn.Parameter(weight.new_zeros(outputs_of(layer)), requires_grad=False)
    return True


def _read(layer: nn.Module, given: Map) -> bool:
    """Let a layer read ``x`` where it read ``factor * x + shift``; returns whether it got a bias."""
    weight, added = layer.weight, False
    assert isinstance(weight, Tensor)
    exact = weight.double()
    if given.shift is not None:
        added = _with_bias(layer)
        assert isinstance(layer.bias, Tensor)
        more = (exact.flatten(2).sum(2) if exact.dim() > 2 else exact) * _spread(given.shift, layer)
        layer.bias = _parameter(layer.bias.double() + more.sum(1), like=weight)
    if given.factor is not None:
        factor = _spread(given.factor, layer)
        exact = exact * factor.reshape(*factor.shape, *(1 for _ in range(weight.dim() - 2)))
        layer.weight = _parameter(exact, like=weight)
    return added


def _spread(values: Tensor, layer: nn.Module) -> Tensor:
    """Numbers per input channel as they stand beside the weight, shape (outputs, inputs / groups)."""
    groups = int(getattr(layer, "groups", 1))
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return values.to(weight.device).reshape(groups, -1).repeat_interleave(weight.shape[0] // groups, dim=0)


def _give(layer: nn.Module, given: Map) -> bool:
    """Let a layer give ``factor * x + shift`` where it gave ``x``; returns whether it got a bias."""
    weight, added = layer.weight, False
    assert isinstance(weight, Tensor)
    exact, device = weight.double(), weight.device
    if given.shift is not None:
        added = _with_bias(layer)
    bias = layer.bias.double() if isinstance(layer.bias, Tensor) else None
    if given.factor is not None:
        factor = given.factor.to(device)
        exact = exact * factor.reshape(-1, *(1 for _ in range(exact.dim() - 1)))
        bias = None if bias is None else bias * factor
        layer.weight = _parameter(exact, like=weight)
    if given.shift is not None:
        assert bias is not None
        bias = bias + given.shift.to(device)
    if bias is not None:
        layer.bias = _parameter(bias, like=weight)
    return added


def _shown(given: Map, layer: nn.Module) -> nn.Module:
    """A map as a module that follows the layer, and the BatchNorm that was folded into it."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    step = Step(
        zero, one if given.factor is None else given.factor, zero if given.shift is None else given.shift
    )
    return Affine(step, (-1,) + (1,) * (0 if isinstance(layer, nn.Linear) else weight.dim() - 2), weight)


def _parameter(exact: Tensor, *, like: Tensor) -> nn.Parameter:
    # Strides, of dimensions of one place too, as a network that is loaded has them: bits depend on them.
    plain = torch.empty(exact.shape, dtype=like.dtype, device=like.device)
    return nn.Parameter(plain.copy_(exact), requires_grad=False)


def _cap(traced: fx.GraphModule, name: str, cap: Tensor) -> None:
    """Replace a clamping node by one with an end per channel; its name stays, by which units know it."""
    node = next(node for node in traced.graph.nodes if node.name == name)
    source, path = node.all_input_nodes[0], f"{name}_cap"
    like = next(traced.parameters())
    traced.add_submodule(path, CappedReLU(cap.to(like)))
    node.op, node.target, node.args, node.kwargs = "call_module", path, (source,), {}
    traced.recompile()
