"""An 8-bit ONNX model in the form that ONNX Runtime turns into integer kernels.

Weights become INT8 with a zero point of 0, and a layer's bias goes back into the layer, as INT32 on the grid
of input times weight. That rounds biases by half a step of that grid at most, which is why this form is one
of its own: values near the edge of two integers round differently more often. Activations stay as they are.

Source of the form: ONNX's specification of QLinearConv, whose bias has this scale.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from mrecg.errors import ConfigError
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer

_MIDDLE = 128
"""Zero point of a symmetric grid of 8 bits; INT8 has it at 0."""
_SAME_GRID = ("MaxPool", "Flatten", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Transpose")
"""Nodes after which values stand on the grid on which they stood before."""
_LAYERS = ("Conv", "Gemm")


def check_integer(network: nn.Module) -> None:
    """See to it that a network can use integer kernels.

    Args:
        network: The hardened network.

    Raises:
        ConfigError: A weight has not 8 bits, or its grid is not centred on zero.
    """
    for path, part in network.named_modules():
        if isinstance(part, QuantizedLayer) and (part.bits != 8 or bool((part.zero_point != _MIDDLE).any())):
            what = f"{part.bits} bits" if part.bits != 8 else "a grid that is not centred on zero"
            raise ConfigError(
                f"format=onnx_int8: {path} has {what}, integer kernels take 8 bits centred on zero; "
                "quantize with bits=w8a8 bits.symmetric_weights=true, or take format=onnx"
            )


def with_integer_kernels(model: onnx.ModelProto, network: nn.Module) -> onnx.ModelProto:
    """Rewrite a model of `mrecg.formats.onnx_file.to_onnx` for integer kernels.

    Args:
        model: The model; it is changed.
        network: The network that it was written from, which `check_integer` has let pass.
    """
    return _Rewriter(model, network).write()


class _Rewriter:
    def __init__(self, model: onnx.ModelProto, network: nn.Module) -> None:
        self.model, self.network = model, network
        self.tensors: dict[str, TensorProto] = {one.name: one for one in model.graph.initializer}
        self.made_by: dict[str, NodeProto] = {node.output[0]: node for node in model.graph.node}

    def write(self) -> onnx.ModelProto:
        graph, renamed = self.model.graph, dict[str, str]()
        layers = {
            path: part for path, part in self.network.named_modules() if isinstance(part, QuantizedLayer)
        }
        for path in layers:
            for leaf in ("integers", "zero_point"):
                self._signed(f"{path}.weight.{leaf}")
        nodes: list[NodeProto] = []
        for node in graph.node:
            if (made := self._with_bias(node, layers)) is not None:
                read, layer = made
                nodes.insert(nodes.index(layer), read)
                renamed[node.output[0]] = layer.output[0]
            else:
                nodes.append(node)
        for node in nodes:
            for i, source in enumerate(node.input):
                node.input[i] = renamed.get(source, source)
        ends = [
            helper.make_node("Identity", [renamed[one.name]], [one.name])
            for one in graph.output
            if one.name in renamed
        ]
        del graph.node[:]
        graph.node.extend([*nodes, *ends])
        used = {source for node in graph.node for source in node.input}
        del graph.initializer[:]
        graph.initializer.extend(one for name, one in self.tensors.items() if name in used)
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _signed(self, name: str) -> None:
        values = numpy_helper.to_array(self.tensors[name]).astype(np.int16) - _MIDDLE
        self.tensors[name] = numpy_helper.from_array(values.astype(np.int8), name)

    def _with_bias(
        self, node: NodeProto, layers: Mapping[str, QuantizedLayer]
    ) -> tuple[NodeProto, NodeProto] | None:
        """For the sum of a layer and its bias: what reads the bias, and the layer that takes it now."""
        if node.op_type != "Add":
            return None
        path = next((name.removesuffix(".bias") for name in node.input if name.endswith(".bias")), "")
        layer = next((self.made_by[name] for name in node.input if name in self.made_by), None)
        if path not in layers or layer is None or layer.op_type not in _LAYERS or len(layer.input) != 2:
            return None
        grid = self._grid_before(layer.input[0])
        if grid is None:
            return None
        name = f"{path}.bias"
        bias = numpy_helper.to_array(self.tensors[name]).astype(np.float64).reshape(-1)
        scale = np.float32(grid.scale.item()) * layers[path].scale.detach().numpy().reshape(-1)
        scale = np.broadcast_to(scale.astype(np.float32), bias.shape)
        integers = np.rint(bias / scale)
        if np.abs(integers).max(initial=0) >= 2**31:
            return None
        for leaf, values in (("integers", integers.astype(np.int32)), ("scale", scale)):
            self.tensors[f"{name}.{leaf}"] = numpy_helper.from_array(
                np.ascontiguousarray(values), f"{name}.{leaf}"
            )
        layer.input.append(f"{name}.read")
        inputs = [f"{name}.integers", f"{name}.scale"]
        return helper.make_node("DequantizeLinear", inputs, [f"{name}.read"], f"{name}.read", axis=0), layer

    def _grid_before(self, name: str) -> ActivationQuantizer | None:
        while name in self.made_by and self.made_by[name].op_type in _SAME_GRID:
            name = self.made_by[name].input[0]
        if name not in self.made_by or self.made_by[name].op_type != "DequantizeLinear":
            return None
        part = self.network.get_submodule(name)
        return part if isinstance(part, ActivationQuantizer) else None
