"""Grouped transposed convolutions in exported files: a grid per output channel in 1 to 3 dimensions."""

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

import mrecg
from mrecg.formats.lower import PlainForm, lower
from mrecg.formats.onnx_file import to_onnx
from mrecg.quant.modules import layers_of

pytestmark = pytest.mark.usefixtures("one_onnx_registry")


class Transposed(nn.Module):
    """Depthwise, depthwise with several outputs, few groups, groups of one output, in 1 to 3 dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8, bias=False)
        self.some = nn.ConvTranspose2d(8, 6, 3, padding=1, groups=2)
        self.wide = nn.ConvTranspose2d(6, 12, 1, groups=6)
        self.line = nn.ConvTranspose1d(12, 8, 2, stride=2, groups=4)
        self.cube = nn.ConvTranspose3d(8, 2, 2, groups=2)
        self.norm, self.relu, self.head = nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.depthwise(self.relu(self.stem(x)))))
        x = self.relu(self.line(self.relu(self.wide(self.relu(self.some(x)))).flatten(2)))
        return self.head(self.relu(self.cube(x.unflatten(2, (4, 4, -1)))).mean((2, 3, 4)))


@pytest.fixture(scope="module")
def transposed() -> nn.Module:
    torch.manual_seed(3)
    model = Transposed().eval()
    with torch.no_grad():
        model.norm.weight.copy_(torch.logspace(-1.5, 1, 8)[torch.randperm(8)])
    return model


def quantized(model: nn.Module, images: Tensor, **bits: object) -> mrecg.Result:
    return mrecg.quantize(
        *(model, images),
        method="rtn",
        granularity="block",
        steps=1,
        progress=False,
        bits=bits,
        calibration={"candidates": 8, "bins": 128},
        trainer={"batch_size": 4, "device": "cpu"},
    )


@pytest.mark.parametrize("weight", [*(pytest.param(bits, marks=pytest.mark.slow) for bits in (2, 3)), 8])
def test_every_format_agrees(transposed: nn.Module, images: Tensor, tmp_path: Path, weight: int) -> None:
    result = quantized(transposed, images, weight=weight, activation=8)
    files = [("q.onnx", opset) for opset in {2: (18, 21, 25), 3: (21,), 8: (18,)}[weight]]
    for name, opset in [*files, ("q.pt2", None), ("q.safetensors", None)]:
        made = mrecg.export(result, tmp_path / name, images=images, opset=opset)
        assert all(one.same >= 30 for one in made.agreements), made.agreements
    lowered = lower(result.model, PlainForm())
    for path, part in result.model.named_modules():
        if hasattr(part, "integers"):
            assert part.scale.numel() == getattr(part.layer, "out_channels", 5), path
            assert torch.equal(lowered.get_submodule(path).weight(), part.hard), path
    again = mrecg.load(tmp_path / "q.safetensors", model=transposed)
    assert torch.equal(again.model(images), result.model(images))


def test_integer_kernels_agree(transposed: nn.Module, images: Tensor, tmp_path: Path) -> None:
    result = quantized(transposed, images, weight=8, activation=8, symmetric_weights=True)
    made = mrecg.export(result, tmp_path / "q.onnx", images=images, format="onnx_int8")
    assert made.format == "onnx_int8" and all(one.flips == 0 for one in made.agreements)


def test_a_file_holds_each_integer_and_each_scale_once(transposed: nn.Module, images: Tensor) -> None:
    result = quantized(transposed, images, weight=8, activation=8)
    model = to_onnx(result, name="transposed", shape=(3, 8, 8), opset=21)
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = {name for name in tensors if ".weight." in name}
    for path, part in result.model.named_modules():
        if part in layers_of(result.model):
            for leaf in ("integers", "scale", "zero_point"):
                assert tensors[f"{path}.weight.{leaf}"].size == getattr(part, leaf).numel(), (path, leaf)
    assert all(tensors[name].size <= 5 for name in weights if name.endswith((".shape", ".split")))
    # Read back by onnx itself, not by us.
    for path in ("depthwise", "some", "wide", "line", "cube"):
        last = f"{path}.weight.shaped"
        own = [node for node in model.graph.node if node.name.startswith(f"{path}.weight")]
        held = [one for one in model.graph.initializer if one.name.startswith(f"{path}.weight.")]
        out = [onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)]
        alone = onnx.helper.make_model(
            onnx.helper.make_graph(own, "weight", [], out, held), opset_imports=list(model.opset_import)
        )
        (found,) = onnx.reference.ReferenceEvaluator(alone).run(None, {})
        assert np.array_equal(found, result.model.get_submodule(path).hard.numpy()), path
