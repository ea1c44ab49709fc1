"""One type for everything: quantization works in float32, also for models and operations of other types."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

LOW = {torch.float16: 0.02, torch.bfloat16: 0.1}
"""Types with few digits, and the relative error of a deep network's outputs that they account for."""
_METHODS = {"half": torch.float16, "bfloat16": torch.bfloat16, "double": torch.float64}


class Watch(TorchFunctionMode):
    """Notes the types with few digits that operations give, be it by casts or under autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype in LOW:
            self.seen.add(result.dtype)
        return result


def to_single(traced: fx.GraphModule) -> list[str]:
    """Make a graph compute in float32: its parameters and buffers, and its casts.

    Args:
        traced: The graph, changed in place. Casts to float64 stay where no parameter is in float64.

    Returns:
        A note, if something had another type.
    """
    tensors = [*traced.parameters(), *traced.buffers()]
    found = {t.dtype for t in tensors if t.is_floating_point()} - {torch.float32}
    replaced = found | set(LOW)
    for module in traced.modules():
        module.float()
    casts: set[torch.dtype] = set()

    def swap(value: Any) -> Any:
        if isinstance(value, torch.dtype) and value in replaced:
            casts.add(value)
            return torch.float32
        return value

    for node in traced.graph.nodes:
        node.args = fx.node.map_aggregate(node.args, swap)
        node.kwargs = fx.node.map_aggregate(node.kwargs, swap)
        if node.op == "call_method" and _METHODS.get(str(node.target)) in replaced:
            casts.add(_METHODS[str(node.target)])
            node.target = "float"
    notes = []
    if found:
        notes.append(f"the model's weights are in {_named(found)}; the copy that is quantized is in float32")
    if casts - found:
        notes.append(f"casts to {_named(casts - found)} are casts to float32 in the copy that is quantized")
    return notes


def _named(types: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in types))


def type_of(module: torch.nn.Module) -> tuple[torch.device, torch.dtype]:
    """Find where a model's images have to be, and in what type.

    Args:
        module: The model or graph.

    Returns:
        Device and type of its first parameter that is not an integer; of its first buffer where it has none.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32
