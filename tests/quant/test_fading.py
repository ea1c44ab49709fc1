"""Networks whose values fade layer by layer: grids are relative to what is there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mrecg

LAYERS = 5


def fading(factor: float) -> nn.Module:
    """Each layer makes its values smaller by a factor; one of its channels is 0 throughout."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for i in range(LAYERS):
        layer = nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1, bias=False)
        with torch.no_grad():
            layer.weight.mul_(factor * 2.5)
            layer.weight[2] = 0.0
        parts += [layer, nn.ReLU() if i % 2 else nn.SiLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, bias=False)).eval()


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def quantized(model: nn.Module, images: Tensor, method: str, kernels: str = "fused") -> mrecg.Result:
    return mrecg.quantize(
        *(model, images),
        weight_bits=8,
        activation_bits=8,
        method=method,
        granularity="block",
        steps=6,
        progress=False,
        calibration={"candidates": 20, "bins": 512},
        trainer={"batch_size": 8, "device": "cpu", "kernels": kernels},
    )


@pytest.mark.parametrize("kernels", ["fused", "plain"])
@pytest.mark.parametrize("factor", [1.0, 3e-2, 1e-4, 1e-7])
@torch.no_grad()
def test_a_network_that_fades_is_right_at_8_bits(factor: float, kernels: str) -> None:
    """Down to 1e-35 at the end; where the values leave float32's normal numbers nothing can be right."""
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = fading(factor)
    result = quantized(model, images, "rtn", kernels)
    expected = model(images)
    assert float(expected.abs().max()) > 1e-37 and bool(result.model(images).isfinite().all())
    assert error(result.model(images), expected) < 0.02


@pytest.mark.parametrize("method", ["qdrop", "genie_m"])
def test_learned_steps_fade_with_it(method: str) -> None:
    """The learning rates are of ordinary size: an unlimited step would be 1e10 times the grid's."""
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = fading(1e-3)
    result = quantized(model, images, method)
    assert error(result.model(images).detach(), model(images).detach()) < 0.05


@torch.no_grad()
def test_a_network_of_zeros_is_one_of_zeros(tmp_path: Path) -> None:
    images = torch.zeros(8, 3, 8, 8)
    model = fading(0.0)
    for method in ("rtn", "genie_m"):
        with torch.enable_grad():
            result = quantized(model, images, method)
        assert torch.equal(result.model(torch.randn(4, 3, 8, 8)), torch.zeros(4, 4))
    result.save(tmp_path / "run")
    assert torch.equal(mrecg.load(tmp_path / "run", model=model).model(images), torch.zeros(8, 4))


@torch.no_grad()
def test_a_faded_network_is_exported(tmp_path: Path) -> None:
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    result = quantized(fading(1e-4), images, "rtn")
    for name in ("q.onnx", "q.pt2", "q.safetensors"):
        for one in mrecg.export(result, tmp_path / name, images=images).agreements:
            assert one.same >= 14, one
