"""What the Python API takes as models and images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from brought import images, network
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mrecg
from mrecg import Result
from mrecg.errors import ConfigError, DataError, GraphError

QUICK: dict[str, Any] = {
    "weight_bits": 8, "activation_bits": 8, "method": "rtn", "granularity": "block", "progress": False,
    "planner": {"name": "modcap"}, "trainer": {"threads": 1}, "calibration": {"candidates": 4, "bins": 64},
}  # fmt: skip


def quantized(model: Any, x: Any, **settings: Any) -> Result:
    return mrecg.quantize(model, x, **{**QUICK, **settings})


@pytest.fixture(scope="module")
def expected() -> Tensor:
    with torch.no_grad():
        return quantized(network(), images()).model(images())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_another_floating_type_are_converted(dtype: torch.dtype, expected: Tensor) -> None:
    x = images().to(dtype)
    result = quantized(network().to(dtype), x, evaluation=TensorDataset(x, torch.arange(4)))
    found = result.model(images())
    assert found.dtype is torch.float32
    for model in (result.model, network().to(dtype)):
        assert mrecg.evaluate(model, TensorDataset(x.double(), torch.arange(4))).images == 4
    assert (found - expected).norm() <= 0.1 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_pixels_are_refused(dtype: torch.dtype) -> None:
    pixels = torch.ones(4, 3, 16, 16, dtype=dtype)
    kind = str(dtype).removeprefix("torch.")
    said = f"is of type {kind}, not floating point; scale and normalise"
    with pytest.raises(DataError, match=f"calibration_images {said}"):
        quantized(network(), pixels)
    with pytest.raises(DataError, match=f"an evaluation image {said}"):
        quantized(network(), images(), evaluation=TensorDataset(pixels, torch.arange(4)))
    with pytest.raises(DataError, match=f"an evaluation image {said}"):
        mrecg.evaluate(network(), TensorDataset(pixels, torch.arange(4)))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_learned_methods_work_whatever_the_mode(mode: Callable[[], Any]) -> None:
    with mode():
        model, x = network().eval(), images()
        result = quantized(model, x, method="brecq_joint", steps=2, activation_bits=4, weight_bits=4)
    with torch.inference_mode():
        late = quantized(model, x, method="brecq_joint", steps=2, activation_bits=4, weight_bits=4)
    assert torch.equal(result.model(images()), late.model(images()))


def test_a_wrapped_model_has_the_name_and_the_bits_of_what_it_holds(tmp_path: Path, expected: Tensor) -> None:
    result = quantized(nn.DataParallel(network()), images(), save_to=tmp_path / "run")
    assert result.config.model.name == "Sequential" and result.config.name.startswith("Sequential-w8a8")
    assert any(note.startswith("DataParallel is only a wrapper") for note in result.network.notes)
    with torch.no_grad():
        assert torch.equal(result.model(images()), expected)
        for other in (network(), nn.DataParallel(network())):
            assert torch.equal(mrecg.load(tmp_path / "run", model=other).model(images()), expected)
    assert mrecg.plan(nn.DataParallel(network()), merge_count=0).groups == result.plan.groups


def test_what_has_no_values_or_is_no_model_is_refused() -> None:
    with torch.device("meta"):
        empty = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 2))
    with pytest.raises(ConfigError, match=r"model: 0\.weight is on the meta device, .* \(4 tensors in all\)"):
        quantized(empty, images())
    for work in (mrecg.plan, lambda model: quantized(model, images())):
        with pytest.raises(GraphError, match=r"model: OrderedDict is not an nn.Module"):
            work(network().state_dict())
    with pytest.raises(GraphError, match=r"model: Result is not an nn.Module; pass its .model$"):
        mrecg.evaluate(quantized(network(), images()), (images(), torch.arange(4)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^data\.batch_size: 0 is not right"):
        mrecg.evaluate(network(), (images(), torch.arange(4)), batch_size=0)


def test_sensitivity_takes_images_by_key_whatever_the_mode() -> None:
    x = images(8)
    batch = [{"image": x, "mask": torch.zeros_like(x)}]
    first = mrecg.sensitivity(network(), x, progress=False)
    with torch.inference_mode():
        again = mrecg.sensitivity(network(), batch, image_key="image", progress=False)
    assert first.rows == again.rows


def test_a_file_is_checked_on_tensors_or_arrays(tmp_path: Path) -> None:
    result, x, y = quantized(network(), images()), images(), torch.arange(4)
    written = [
        mrecg.export(result, tmp_path / "net.safetensors", images=each, labels=labels, batch_size=3)
        for each, labels in ((x, y), (x.double().numpy(), y.numpy()))
    ]
    assert written[0] == written[1] and written[0].agreements[0].images == 4
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"images": x, "batch_size": 0}, ConfigError, "batch_size: 0 is not right"),
        ({"images": x, "labels": y[:3]}, DataError, "labels: 4 images have 3 labels"),
        ({"images": x[0]}, DataError, r"images: give shape \(N, C, H, W\)"),
        ({"images": x.byte()}, DataError, "images is of type uint8, not floating point"),
    ]
    for given, kind, said in wrong:
        with pytest.raises(kind, match=f"^{said}"):
            mrecg.export(result, tmp_path / "net.safetensors", **given)


def test_the_model_is_not_changed() -> None:
    model = network().half().train()
    model[3].register_forward_hook(lambda layer, args, out: out * 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quantized(model, images())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.training and len(model[3]._forward_hooks) == 1
    assert all(parameter.requires_grad for parameter in model.parameters())
