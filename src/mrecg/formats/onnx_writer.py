"""Weights and grids as ONNX nodes and initialisers."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import onnx
import torch
from onnx import NodeProto, TensorProto, helper
from torch import Tensor, nn

from mrecg.formats.packed import pack
from mrecg.graph.ops import WEIGHT_LAYERS
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer, layers_of

DOMAIN = "mrecg"
"""Of the two nodes that stand for weights and grids until they are written out."""


class StoredType(NamedTuple):
    """A type of unsigned integers: its bits, its number in ONNX, and the first opset that has it."""

    bits: int
    number: int
    opset: int


TYPES = (
    StoredType(2, TensorProto.UINT2, 25),
    StoredType(4, TensorProto.UINT4, 21),
    StoredType(8, TensorProto.UINT8, 13),
)
"""From the narrowest."""


def type_for(bits: int, opset: int) -> StoredType:
    """Choose the narrowest type for integers.

    Args:
        bits: Their bits, 2 to 8.
        opset: Of the file.
    """
    return next(one for one in TYPES if one.bits >= bits and one.opset <= opset)


def _has_float_layers(network: nn.Module) -> bool:
    inside = {id(layer.layer) for layer in layers_of(network)}
    return any(isinstance(part, WEIGHT_LAYERS) and id(part) not in inside for part in network.modules())


class Writer:
    """Puts weights and grids into a model that torch has written.

    Args:
        model: What torch has written.
        network: Where weights and grids are.
        opset: Of the model.
    """

    def __init__(self, model: onnx.ModelProto, network: nn.Module, opset: int) -> None:
        self.model, self.network, self.opset = model, network, opset
        self.initializers: list[TensorProto] = []
        # Behind a DequantizeLinear, ONNX Runtime quantizes weights and biases that are in float to 8 bits:
        # where there are some, grids are read back in plain arithmetic.
        self.spelt = _has_float_layers(network)

    def write(self) -> onnx.ModelProto:
        """Do it.

        Returns:
            A model of standard nodes, without traces of the machine that wrote it.
        """
        graph = self.model.graph
        renamed: dict[str, str] = {}
        nodes: list[NodeProto] = []
        for node in graph.node:
            made = list(self._written(node)) if node.domain == DOMAIN else [node]
            renamed |= {node.output[0]: made[-1].output[0]} if node.domain == DOMAIN else {}
            nodes.extend(made)
        for node in nodes:
            for i, source in enumerate(node.input):
                node.input[i] = renamed.get(source, source)
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
        # The last layer's output has a name of its own; what a grid gives is called by the grid.
        for output in graph.output:
            if output.name in renamed:
                nodes.append(helper.make_node("Identity", [renamed[output.name]], [output.name]))
        for constant in graph.initializer:  # an output has to come from a node
            if constant.name in {output.name for output in graph.output}:
                shown, constant.name = constant.name, f"{constant.name}.value"
                nodes.append(helper.make_node("Identity", [constant.name], [shown]))
        kept = [x for x in graph.initializer if any(x.name in node.input for node in nodes)]
        for part in (*kept, *graph.input, *graph.output):
            part.ClearField("doc_string")
            part.ClearField("metadata_props")
        written = helper.make_graph(
            nodes, graph.name, list(graph.input), list(graph.output), [*kept, *self.initializers]
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            written, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
        )

    def _written(self, node: NodeProto) -> Iterator[NodeProto]:
        path = next(a.s for a in node.attribute if a.name == "path").decode()
        part = self.network.get_submodule(path)
        if isinstance(part, QuantizedLayer):
            yield from self._weight(part, path)
        else:
            assert isinstance(part, ActivationQuantizer)
            yield from self._grid(part, path, node.input[0])

    def _weight(self, layer: QuantizedLayer, path: str) -> Iterator[NodeProto]:
        kind = type_for(layer.bits, self.opset)
        channels = layer.channels
        # ONNX Runtime makes an integer Gemm of a low-bit linear layer, and then finds that it has none.
        hidden = kind.bits < 8 and isinstance(layer.layer, nn.Linear)
        # One axis has a scale per place. A group's channels are apart in a transposed weight, so that is
        # stored with its output channels first, and put in order after it was read back.
        apart = channels.transposed and channels.shape[0] > 1
        stored = channels.values(layer.integers) if apart else layer.integers
        integers = self._packed(f"{path}.weight.integers", stored.unsqueeze(-1) if hidden else stored, kind)
        shape = [] if layer.per_tensor else [layer.scale.numel()]
        scale = self._float(f"{path}.weight.scale", layer.scale.reshape(shape))
        zero = self._packed(f"{path}.weight.zero_point", layer.zero_point.reshape(shape), kind)
        node = helper.make_node(
            "DequantizeLinear", [integers, scale, zero], [f"{path}.weight"], f"{path}.weight"
        )
        if not layer.per_tensor:
            axis = 1 if channels.transposed and not apart else 0
            node.attribute.append(helper.make_attribute("axis", axis))
        yield node
        if hidden:
            last = self._longs(f"{path}.weight.last", [-1])
            shaped = f"{path}.weight.shaped"
            yield helper.make_node("Squeeze", [node.output[0], last], [shaped], shaped)
        if apart:
            yield from self._ordered(layer, node.output[0])

    def _ordered(self, layer: QuantizedLayer, name: str) -> Iterator[NodeProto]:
        """From (outputs, inputs / groups, ...) to the weight's (inputs, outputs / groups, ...)."""
        groups, columns = layer.channels.shape[:2]
        rows, kernel = layer.channels.rows, layer.integers.shape[2:]
        if rows > 1 and columns > 1:
            split = self._longs(f"{name}.split", [groups, columns, rows, *kernel])
            yield helper.make_node("Reshape", [name, split], [f"{name}.parts"], f"{name}.parts")
            order = [0, 2, 1, *range(3, 3 + len(kernel))]
            yield helper.make_node(
                "Transpose", [f"{name}.parts"], [f"{name}.turned"], f"{name}.turned", perm=order
            )
        source = f"{name}.turned" if rows > 1 and columns > 1 else name
        shape = self._longs(f"{name}.shape", list(layer.integers.shape))
        yield helper.make_node("Reshape", [source, shape], [f"{name}.shaped"], f"{name}.shaped")

    def _grid(self, quantizer: ActivationQuantizer, path: str, source: str) -> Iterator[NodeProto]:
        scale, zero, top = float(quantizer.scale), int(quantizer.zero_point), quantizer.top
        # In float32, as both sides compute: a multiple of the scale, divided by it, is a whole number again.
        ends = (torch.tensor([-zero, top - zero], dtype=torch.float32) * quantizer.scale.detach()).tolist()
        low, high = max(ends[0], quantizer.bounds[0]), min(ends[1], quantizer.bounds[1])
        # UINT8 ends at 0 by itself, and at 255.
        low = -math.inf if low == ends[0] and zero == 0 else low
        high = math.inf if high == ends[1] and top == 255 else high
        if (low, high) != (-math.inf, math.inf):
            inputs = [
                source,
                self._float(f"{path}.low", torch.tensor(low)) if low > -math.inf else "",
                self._float(f"{path}.high", torch.tensor(high)) if high < math.inf else "",
            ]
            source = f"{path}.clipped"
            while not inputs[-1]:
                inputs.pop()
            yield helper.make_node("Clip", inputs, [source], name=source)
        grid = [
            self._float(f"{path}.scale", torch.tensor(scale)),
            self._packed(f"{path}.zero_point", torch.tensor(zero), TYPES[-1]),
        ]
        integers = f"{path}.integers"
        yield helper.make_node("QuantizeLinear", [source, *grid], [integers], name=integers)
        if not self.spelt:
            yield helper.make_node("DequantizeLinear", [integers, *grid], [path], name=path)
            return
        real, shifted = f"{path}.real", f"{path}.shifted"
        yield helper.make_node("Cast", [integers], [real], name=real, to=TensorProto.FLOAT)
        below = self._float(f"{path}.zero", torch.tensor(float(zero)))
        yield helper.make_node("Sub", [real, below], [shifted], name=shifted)
        yield helper.make_node("Mul", [shifted, grid[0]], [path], name=path)

    def _packed(self, name: str, integers: Tensor, kind: StoredType) -> str:
        content = pack(integers, kind.bits).numpy().tobytes()
        return self._add(helper.make_tensor(name, kind.number, list(integers.shape), content, raw=True))

    def _float(self, name: str, values: Tensor) -> str:
        content = values.detach().to(torch.float32).contiguous().numpy().tobytes()
        return self._add(helper.make_tensor(name, TensorProto.FLOAT, list(values.shape), content, raw=True))

    def _longs(self, name: str, values: list[int]) -> str:
        content = torch.tensor(values).numpy().tobytes()
        return self._add(helper.make_tensor(name, TensorProto.INT64, [len(values)], content, raw=True))

    def _add(self, tensor: TensorProto) -> str:
        self.initializers.append(tensor)
        return str(tensor.name)
