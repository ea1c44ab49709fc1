from typing import Any

import pytest
import torch
from brought import SHAPE, Looking, images, network
from torch import Tensor, nn

from mrecg.graph.cut import Cut, cut

F16, BF16, F64 = torch.float16, torch.bfloat16, torch.float64


@torch.no_grad()
def close(found: Cut, model: nn.Module, x: Tensor, bound: float) -> None:
    assert all(value.dtype is torch.float32 for value in found.graph.parameters())
    assert all(value.dtype is not F64 for value in found.graph.buffers())
    out, expected = found.graph(images()), model.eval()(x).float()
    assert out.dtype is torch.float32
    assert (out - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("wrap", [nn.Sequential, Looking], ids=["torch.fx", "torch.export"])
@pytest.mark.parametrize(("dtype", "bound"), [(F16, 2e-3), (BF16, 2e-2), (F64, 1e-5)])
def test_a_model_of_another_type_becomes_float32(dtype: torch.dtype, bound: float, wrap: Any) -> None:
    model = wrap(network()).to(dtype)
    found = cut(model, input_shape=SHAPE)
    name = str(dtype).removeprefix("torch.")
    assert f"the model's weights are in {name}; the copy that is quantized is in float32" in found.notes
    close(found, model, images().to(dtype), bound)
    assert next(model.parameters()).dtype is dtype, "the user's model was changed"


class Mixed(nn.Module):
    """BatchNorm in float32 in a model of another type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        net = network()
        self.dtype = dtype
        self.stem, self.norm, self.rest = net[0].to(dtype), net[1], net[2:].to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x.to(self.dtype)).float())
        return self.rest(x.to(dtype=next(self.rest.parameters()).dtype))


@pytest.mark.parametrize(("dtype", "bound"), [(F16, 2e-3), (BF16, 2e-2), (F64, 1e-5)])
def test_parts_of_several_types_become_float32(dtype: torch.dtype, bound: float) -> None:
    model = Mixed(dtype)
    close(cut(model, input_shape=SHAPE), model, images(), bound)


class Cast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        net = network()
        self.stem, self.rest = net[:3], net[3:]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).half().float()
        return self.rest(x.to(torch.bfloat16).type(torch.float32)).double().softmax(-1).float()


class Automatic(Cast):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.stem(x)
        return self.rest(x.float())


@pytest.mark.parametrize("wrap", [nn.Sequential, Looking], ids=["torch.fx", "torch.export"])
@pytest.mark.parametrize("kind", [Cast, Automatic])
def test_casts_and_autocast_are_converted(kind: type[nn.Module], wrap: Any) -> None:
    model = wrap(kind())
    found = cut(model, input_shape=SHAPE)
    close(found, model, images(), 2e-2)
    low = [node for node in found.graph.graph.nodes if {F16, BF16} & set(node.args)]
    assert not low and not any(node.target in ("half", "bfloat16") for node in found.graph.graph.nodes)
