"""ONNX files and torch.export programs do what the network does, and a file that does not is refused."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

import mrecg
from mrecg.errors import ConfigError, ExportError
from mrecg.formats import check, onnx_file
from mrecg.formats.lower import PlainForm, lower
from mrecg.formats.onnx_file import to_onnx
from mrecg.formats.registry import format_named
from mrecg.quant.modules import activations_of, layers_of

pytestmark = pytest.mark.usefixtures("one_onnx_registry")

Make = Callable[..., mrecg.Result]
WIDTHS = [
    *[(2, 4), (8, 8)],
    *[
        pytest.param(*widths, marks=pytest.mark.slow)
        for widths in [(2, 2), (3, 3), (4, 4), (4, 8), (2, 32), (32, 4), (5, 6)]
    ],
]


def written(result: mrecg.Result, opset: int | None = None) -> onnx.ModelProto:
    return to_onnx(result, name="kinds", shape=(3, 8, 8), opset=opset)


@pytest.mark.parametrize(("weight", "activation"), WIDTHS)
def test_every_format_agrees(
    make: Make, images: Tensor, tmp_path: Path, weight: int, activation: int
) -> None:
    result = make(weight, activation, boundary=None if weight == 2 else 8)
    labels = torch.arange(40) % 5
    for name, runs in (("q.onnx", 2), ("q.pt2", 1), ("q.safetensors", 1)):
        made = mrecg.export(result, tmp_path / name, images=images, labels=labels, batch_size=16)
        assert len(made.agreements) == runs and made.bytes == (tmp_path / name).stat().st_size
        for one in made.agreements:
            assert (one.images, one.labels) == (40, 40)
            assert one.same + len(one.ties) == 40 and one.same >= 36, one
            assert all(tie.distance < 1e-4 for tie in one.ties)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bits", [{"per_tensor_weights": True}, {"symmetric_weights": True}, {"input": 8}, {"stem_output": 8}]
)
def test_every_policy_agrees(make: Make, images: Tensor, tmp_path: Path, bits: dict[str, object]) -> None:
    result = make(4, 4, **bits)
    for name in ("q.onnx", "q.pt2"):
        for one in mrecg.export(result, tmp_path / name, images=images).agreements:
            assert one.same >= 36


@pytest.mark.parametrize("weight", [2, 3, 5, 8])
def test_plain_torch_unpacks_the_very_weights(make: Make, images: Tensor, weight: int) -> None:
    result = make(weight, 32, boundary=None)
    lowered = lower(result.model, PlainForm())
    for path, part in result.model.named_modules():
        if hasattr(part, "integers"):
            assert torch.equal(lowered.get_submodule(path).weight(), part.hard), path


@pytest.mark.parametrize(
    ("weight", "opset", "chosen", "kind", "zero_opset"),
    [
        (8, None, 18, TensorProto.UINT8, 18),
        (4, None, 21, TensorProto.UINT4, 21),
        pytest.param(3, None, 21, TensorProto.UINT4, 21, marks=pytest.mark.slow),
        (2, None, 25, TensorProto.UINT2, 25),
        pytest.param(2, 21, 21, TensorProto.UINT4, 21, marks=pytest.mark.slow),
        pytest.param(2, 18, 18, TensorProto.UINT8, 18, marks=pytest.mark.slow),
        pytest.param(8, 25, 25, TensorProto.UINT8, 25, marks=pytest.mark.slow),
    ],
)
def test_weights_take_the_narrowest_type(
    make: Make, images: Tensor, weight: int, opset: int | None, chosen: int, kind: int, zero_opset: int
) -> None:
    result = make(weight, 8, boundary=None)
    model = written(result, opset)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", chosen)]
    tensors = {one.name: one for one in model.graph.initializer}
    for path, part in result.model.named_modules():
        if hasattr(part, "integers"):
            stored = tensors[f"{path}.weight.integers"]
            assert stored.data_type == kind
            # Read back by onnx itself, not by us.
            found = numpy_helper.to_array(stored).astype(np.uint8).reshape(part.integers.shape)
            assert np.array_equal(found, part.integers.numpy())
            zero = numpy_helper.to_array(tensors[f"{path}.weight.zero_point"]).astype(np.float32)
            assert np.array_equal(zero, part.zero_point.flatten().numpy())


def test_a_file_holds_standard_nodes_and_nothing_of_this_machine(make: Make) -> None:
    model = written(make(4, 4))
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    content = model.SerializeToString()
    for trace in (str(Path(__file__).parent).encode(), b"site-packages", b".py"):
        assert trace not in content
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {one.key for one in model.metadata_props} == {"mrecg"}


def test_values_on_the_edges_of_a_grid_round_alike(make: Make) -> None:
    """Half steps, the floats beside them, both ends and beyond."""
    result = make(4, 4)
    model = written(result)
    for path, part in result.model.named_modules():
        if part not in activations_of(result.model):
            continue
        scale, zero = float(part.scale), int(part.zero_point)
        steps = torch.arange(-zero - 3, part.top - zero + 4, 0.5)
        x = steps * part.scale.detach()
        x = torch.cat(
            [x, torch.nextafter(x, x + 1), torch.nextafter(x, x - 1), torch.tensor([6.0, -1e30, 1e30])]
        )
        nodes = [node for node in model.graph.node if node.name == path or node.name.startswith(f"{path}.")]
        held = [one for one in model.graph.initializer if one.name.startswith(f"{path}.")]
        source = nodes[0].input[0]
        value = [
            onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in (source, path)
        ]
        alone = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "grid", value[:1], value[1:], held),
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
        session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {source: x.numpy()})[0])
        assert torch.equal(found, part(x)), (path, scale)


@pytest.mark.slow
def test_a_program_runs_without_this_package(make: Make, images: Tensor, tmp_path: Path) -> None:
    import subprocess
    import sys

    result = make(3, 4)
    mrecg.export(result, tmp_path / "q.pt2", images=images)
    torch.save(images, tmp_path / "x.pt")
    code = (
        "import sys, torch; sys.modules['mrecg'] = None\n"
        "module = torch.export.load('q.pt2').module()\n"
        "torch.save([module(torch.load('x.pt')[:n]) for n in (1, 7)], 'y.pt')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for found, count in zip(torch.load(tmp_path / "y.pt"), (1, 7), strict=True):
        assert torch.allclose(found, result.model(images[:count]), atol=1e-5)


def test_a_file_that_differs_is_refused_and_not_left(
    make: Make, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One integer of one weight, one scale, one bias, one end of a grid: each is found."""
    result = make(4, 4)
    honest = onnx_file.to_onnx

    def changed(name: str, change: Callable[[np.ndarray], None]) -> Callable[..., onnx.ModelProto]:
        def make_it(*arguments: object, **rest: object) -> onnx.ModelProto:
            model = honest(*arguments, **rest)
            found = [one for one in model.graph.initializer if one.name.endswith(name)]
            tensor = found[len(found) // 2]
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            if tensor.data_type == TensorProto.FLOAT:
                tensor.raw_data = values.tobytes()
            else:
                tensor.raw_data = bytes([tensor.raw_data[0] ^ 0b100]) + tensor.raw_data[1:]
            return model

        return make_it

    for name, change in (
        ("weight.integers", lambda values: None),
        ("weight.scale", lambda values: values.__setitem__(0, values.flat[0] * 1.02)),
        ("bias", lambda values: values.__iadd__(0.02)),
        ("high", lambda values: values.__imul__(0.9)),
    ):
        monkeypatch.setattr(onnx_file, "to_onnx", changed(name, change))
        with pytest.raises(
            ExportError, match=r"ONNX Runtime.*(steps from an edge|every grid gives the same)"
        ) as found:
            mrecg.export(result, tmp_path / "q.onnx", images=images)
        assert "is not written" in str(found.value) and not list(tmp_path.iterdir()), name


def test_a_tie_is_told_from_a_fault(make: Make, images: Tensor) -> None:
    """A value a hair below an edge, seen a hair higher: a tie. Seen a fifth of a step higher: a fault."""
    result = make(8, 4)
    other = copy.deepcopy(result.model)
    mine, theirs = activations_of(result.model)[1], activations_of(other)[1]

    def pin(shift: float) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
        def changed(part: nn.Module, inputs: tuple[Tensor]) -> Tensor:
            x = inputs[0].clone()
            x[:, :, ::2, ::2] = (2.5 - 1e-5 + shift) * mine.scale.detach()
            return x

        return changed

    class Subject:
        what, bounds = "the other", check.EXACT

        def run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
            found: list[Tensor] = []
            hooks = [
                part.register_forward_hook(lambda part, inputs, out: found.append(out))
                for part in activations_of(other)
            ]
            out = other(x)
            for hook in hooks:
                hook.remove()
            return out, found

        def logits(self, x: Tensor) -> Tensor:
            return self.run(x)[0]

        def grids(self, x: Tensor, names: list[str]) -> list[Tensor]:
            assert names[1].startswith("activation_quantizers.")
            return self.run(x)[1]

    mine.register_forward_pre_hook(pin(0.0))
    hook = theirs.register_forward_pre_hook(pin(1e-4))
    (found,) = check.compare(result.model, [Subject()], [(images[:8], None)])
    assert len(found.ties) == 8 and {tie.grid for tie in found.ties} == {"activation_quantizers.expand_2"}
    assert {tie.values for tie in found.ties} == {16 * 4 * 4}
    assert all(5e-6 < tie.distance < 5e-5 for tie in found.ties)
    hook.remove()
    theirs.register_forward_pre_hook(pin(1.2))  # another integer, where no edge is near
    mine.register_forward_pre_hook(pin(0.3))
    with pytest.raises(
        ExportError, match=r"image \d differs at activation_quantizers\.\w+, 0\.\d+ steps from an edge"
    ):
        check.compare(result.model, [Subject()], [(images[:8], None)])


def test_what_cannot_be_exported_is_said(make: Make, images: Tensor, tmp_path: Path) -> None:
    result = make(4, 4)
    for name, more, said in (
        ("q.bin", {}, r"path: '\.bin' .*choose from \.onnx, \.pt2, \.safetensors"),
        ("q.pt2", {"opset": 21}, "opset: goes with format=onnx"),
        ("q.onnx", {"opset": 26}, "opset: 26 is not right; choose from 18 to 25"),
        ("q.onnx", {"opset": 17}, "opset: 17 is not right"),
        ("q.onnx", {"format": "pt2"}, r"path: q\.onnx ends with \.onnx, files of format=pt2 with \.pt2"),
        ("q.pt2", {"format": "onnx_int9"}, r"format: 'onnx_int9' is not a choice \(did you mean 'onnx_int8'"),
        (
            "q.onnx",
            {"format": "onnx_int8"},
            r"format=onnx_int8: stem\.0 has a grid that is not centred on zero",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            mrecg.export(result, tmp_path / name, images=images, **more)
    with pytest.raises(ConfigError, match="images: there is none"):
        mrecg.export(result, tmp_path / "q.onnx", images=images[:0])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(
    make: Make, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime: is not installed.*pip install 'mrecg\[export\]'"):
        mrecg.export(make(4, 4), tmp_path / "q.onnx", images=images)


def test_sizes_are_counted(make: Make, images: Tensor, tmp_path: Path) -> None:
    result = make(3, 4)
    made = mrecg.export(result, tmp_path / "q.onnx", images=images)
    weights = sum(layer.integers.numel() for layer in layers_of(result.model) if layer.bits == 3)
    assert made.containers["3"] == {"4": weights} and set(made.containers["8"]) == {"8"}
    assert mrecg.export(result, tmp_path / "q.safetensors", images=images).containers["3"] == {"3": weights}
    assert made.by_bits < made.fp / 4
    assert io.BytesIO((tmp_path / "q.onnx").read_bytes()).getbuffer().nbytes == made.bytes
    assert format_named("packed").file == "quantized.safetensors"
