"""A network cut into units, each in full precision and quantized, and the quantized whole."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, fx, nn

from mrecg.config.schema import BitsConfig
from mrecg.errors import CheckpointError
from mrecg.graph.chain import outputs_in, structure_in
from mrecg.graph.fold import UNFOLDED
from mrecg.graph.ops import attribute_of, clamp_of
from mrecg.graph.pack import PACKING
from mrecg.graph.partition import Unit
from mrecg.graph.structure import OUTPUTS, Returned
from mrecg.graph.unquantized import Unquantized
from mrecg.quant.affine import UNBOUNDED
from mrecg.quant.bit_widths import Policy, policy
from mrecg.quant.modules import (
    ActivationQuantizer,
    QuantizedLayer,
    layers_of,
)


class QuantizedNetwork:
    """The units of a network, in full precision and quantized; both share the full-precision weights.

    Args:
        traced: A folded graph from `mrecg.graph.trace.trace`.
        units: Its units in order.
        bits: The configured bit widths.
        notes: What a user should know about the graph and its units.
        unquantized: What stays in full precision.
        chosen: The bits of everything that is quantized, where known; None: by `mrecg.quant.bit_widths`.

    Attributes:
        units: The units in order.
        full: One full-precision module per unit.
        low: One quantized module per unit.
        model: The whole quantized network; it shares its quantizers with ``low``.
        policy: The bits of everything that is quantized.
        structure: How the outputs of ``model`` are put together; None: it returns one tensor alone.
        unquantized: What stays in full precision.
    """

    def __init__(
        self,
        traced: fx.GraphModule,
        units: Sequence[Unit],
        bits: BitsConfig,
        *,
        notes: Sequence[str] = (),
        unquantized: Sequence[Unquantized] = (),
        chosen: Policy | None = None,
    ) -> None:
        self.traced, self.units, self.bits, self.notes = traced, tuple(units), bits, tuple(notes)
        self.unquantized = tuple(unquantized)
        self.policy: Policy = chosen or policy(traced.graph, bits)
        parts: dict[str, nn.Module] = {
            path: QuantizedLayer(
                traced.get_submodule(path),
                bits=width,
                symmetric=bits.symmetric_weights,
                per_tensor=bits.per_tensor_weights,
            )
            for path, width in self.policy.layers.items()
        }
        nodes = {node.name: node for node in traced.graph.nodes}
        parts |= {
            _path(name): ActivationQuantizer(width, bounds=clamp_of(nodes[name]) or UNBOUNDED)
            for name, width in self.policy.activations.items()
        }
        inside = [(unit.input, [nodes[name] for name in unit.nodes]) for unit in units]
        self.full = [_build(traced, source, part, {}, ()) for source, part in inside]
        self.low = [_build(traced, source, part, parts, self.policy.activations) for source, part in inside]
        self.structure = structure_in(traced)
        self.model = _build(
            traced, units[0].input, _calls(traced), parts, self.policy.activations, whole=True
        )

    def to(self, device: torch.device) -> "QuantizedNetwork":
        """Move everything to a device, images in channels-last order.

        Returns:
            The network itself.
        """
        for module in (*self.full, *self.low, self.model):
            module.to(device)
            for part in module.modules():
                weight = part.reference if isinstance(part, QuantizedLayer) else getattr(part, "weight", None)
                if isinstance(weight, Tensor) and weight.dim() == 4:
                    part.to(memory_format=torch.channels_last)
        return self

    def reference(self) -> nn.Module:
        """Build the whole network in full precision; it returns what ``model`` returns."""
        if self.structure is None:
            return nn.Sequential(*self.full)
        return _build(self.traced, self.units[0].input, _calls(self.traced), {}, (), whole=True)

    def unfolded(self, index: int) -> nn.Module:
        """Build a unit in full precision with the BatchNorms that were folded into its layers.

        Returns:
            A new module, on the device of the others; it shares its BatchNorms with other calls.
        """
        unit = self.units[index]
        kept = self.traced.meta.get(UNFOLDED, {})
        nodes = {node.name: node for node in self.traced.graph.nodes}
        parts = {path: kept[path] for path in unit.layers if path in kept}
        module = _build(self.traced, unit.input, [nodes[name] for name in unit.nodes], parts, ())
        device = next(iter(self.full[index].parameters())).device
        return module.to(device).to(memory_format=torch.channels_last)

    def state(self) -> dict[str, Tensor]:
        """Everything that defines the quantized network, for saving.

        Returns:
            By name: ``integers`` (uint8), ``scale``, ``zero_point`` and ``bias`` of each quantized layer,
            scale and zero point of each activation, and the tensors of all parts that are not quantized.
        """
        state = {}
        for name, value in self.model.state_dict().items():
            owner, _, leaf = name.rpartition(".")
            parent = owner.rpartition(".")[0]
            wrapped = owner.endswith(".layer") and isinstance(
                self.model.get_submodule(parent), QuantizedLayer
            )
            if wrapped and leaf == "weight":
                continue
            state[f"{parent}.{leaf}" if wrapped else name] = value.detach().cpu().contiguous()
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state; afterwards a layer has a bias of its own only where it was learned.

        Args:
            state: What `state` returned, for the same units and bits.

        Raises:
            CheckpointError: A tensor is missing, not known or of another shape.
        """
        state = dict(state)
        for path in self.policy.layers:
            layer = self.model.get_submodule(path)
            assert isinstance(layer, QuantizedLayer)
            if (bias := state.pop(f"{path}.bias", None)) is not None:
                state[f"{path}.layer.bias"] = bias
                layer.layer, layer.owns_bias = self.traced.get_submodule(path), False
                if not isinstance(layer.layer.bias, Tensor) or not torch.equal(
                    layer.layer.bias.cpu(), bias.cpu()
                ):
                    layer.own_bias()  # it was learned: the full-precision units keep theirs
            state[f"{path}.layer.weight"] = layer.reference.detach()
        try:
            self.model.load_state_dict(state)
        except RuntimeError as error:
            wrong = " ".join(str(error).split())
            raise CheckpointError(
                f"the saved state does not fit this network and its bits: {wrong}"
            ) from error
        for layer in layers_of(self.model):
            layer.refresh()


def _calls(traced: fx.GraphModule) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if node.op.startswith("call_")]


def _path(node_name: str) -> str:
    return f"activation_quantizers.{node_name}"


def _build(
    traced: fx.GraphModule,
    source: str,
    nodes: Iterable[fx.Node],
    parts: dict[str, nn.Module],
    quantized: Iterable[str],
    *,
    whole: bool = False,
) -> fx.GraphModule:
    """Copy nodes into a graph of their own, with quantizers after those that are named.

    A quantizer takes over the ReLU (or other clamp) before it: one pass over the activation instead of two.
    That of the network's input stands in the first unit. The whole network returns what the model returns,
    and in it no tensors are laid together for the border of a unit.
    """
    graph = fx.Graph()
    names = {node.name: node for node in traced.graph.nodes}
    env: dict[fx.Node, fx.Node] = {names[source]: graph.placeholder("x")}

    def value_of(node: fx.Node) -> fx.Node:
        if node.op == "get_attr" and node not in env:
            env[node] = graph.node_copy(node)
        return env[node]

    def quantize(node: fx.Node, value: fx.Node) -> fx.Node:
        path = _path(node.name)
        _place(root, path, parts[path])
        return graph.call_module(path, (value,))

    root = nn.Module()
    quantized, last = set(quantized), None
    start = names[source]
    # Any other value that enters was quantized where it was made, in the unit before.
    if start.op == "placeholder" and source in quantized:
        env[start] = quantize(start, env[start])
    for node in nodes:
        last = node
        if whole and PACKING in node.meta:
            if (original := node.meta[PACKING]) is not None:
                env[node] = env[names[original]]
            continue
        if node.name in quantized and clamp_of(node) is not None:
            env[node] = quantize(node, value_of(node.all_input_nodes[0]))
            continue
        copied = graph.node_copy(node, value_of)
        if node.op == "call_module":
            path = str(node.target)
            _place(root, path, parts.get(path, traced.get_submodule(path)))
        env[node] = copied
        if node.name in quantized:
            env[node] = quantize(node, copied)
    assert last is not None
    given = env[last] if not whole else tuple(value_of(node) for node in outputs_in(traced.graph))
    for node in list(env):
        if node.op == "get_attr":
            _place(root, str(node.target), attribute_of(traced, str(node.target)))
    structure = structure_in(traced)
    if isinstance(given, tuple):
        if structure is not None:
            _place(root, OUTPUTS, Returned(structure))
            given = graph.call_module(OUTPUTS, given)
        else:
            (given,) = given
    graph.output(given)
    return fx.GraphModule(root, graph).eval()


def _place(root: nn.Module, path: str, value: nn.Module | Tensor) -> None:
    # Not a dict as the root: a GraphModule would sort that by depth, out of network order.
    *containers, leaf = path.split(".")
    for name in containers:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        root.register_buffer(leaf, value)
    else:
        setattr(root, leaf, value)
