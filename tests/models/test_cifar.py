import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mrecg.config.validate import run_config
from mrecg.models import cifar
from mrecg.models.build import build
from mrecg.pipeline import evaluate

DATA = os.environ.get("MRECG_TEST_DATA", "")
WEIGHTS = Path(DATA) / "weights" / "resnet20_cifar10.pth"
IMAGES = Path(DATA) / "cifar10-mini"


@pytest.mark.parametrize(
    ("make", "layers", "parameters", "published"),
    [
        (cifar.resnet20, 20, 269_722, 0.27),
        (cifar.resnet32, 32, 464_154, 0.46),
        (cifar.resnet56, 56, 853_018, 0.85),
    ],
)
def test_depth_and_size_are_the_papers(
    make: Callable[[], nn.Module], layers: int, parameters: int, published: float
) -> None:
    model = make()
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in model.modules()) == layers
    found = sum(value.numel() for value in model.parameters())
    assert found == parameters and round(found / 1e6, 2) == published


def test_the_stages_are_the_papers() -> None:
    model, shapes = cifar.resnet20(num_classes=7).eval(), []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda *values: shapes.append(tuple(values[2].shape)))
    with torch.no_grad():
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


@pytest.mark.parametrize(
    ("stride", "channels", "added"), [(2, 16, 16), (2, 4, 4), (1, 2, 3), (2, 3, 1), (2, 5, 0)]
)
@pytest.mark.parametrize("size", [8, 7])
def test_the_padded_shortcut_is_the_formula(stride: int, channels: int, added: int, size: int) -> None:
    images = torch.randn(2, channels, size, size)
    found = cifar.PaddedShortcut(stride, added)(images)
    pixels = -(-size // stride)
    assert found.shape == (2, channels + added, pixels, pixels)
    for channel in range(channels + added):
        source = channel - added // 2
        for i in range(pixels):
            for j in range(pixels):
                inside = 0 <= source < channels
                expected = images[:, source, stride * i, stride * j] if inside else torch.zeros(2)
                assert torch.equal(found[:, channel, i, j], expected)


def test_a_block_adds_its_shortcut() -> None:
    block = cifar.BasicBlock(4, 8, 2).eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        found = block(images)
    assert torch.equal(found[:, 2:6], images[:, :, ::2, ::2].relu())
    assert not found[:, :2].any() and not found[:, 6:].any()
    assert isinstance(cifar.BasicBlock(4, 4, 1).shortcut, nn.Identity)


@pytest.mark.shared_data
@pytest.mark.skipif(
    not DATA or not WEIGHTS.is_file() or not IMAGES.is_dir(),
    reason="MRECG_TEST_DATA names no folder with weights/resnet20_cifar10.pth and cifar10-mini",
)
def test_published_weights_of_the_network_classify() -> None:
    config = run_config(
        {
            "model": {
                "source": "target",
                "name": "resnet20_cifar",
                "target": "mrecg.models.cifar.resnet20",
                "input_shape": [3, 32, 32],
                "checkpoint": str(WEIGHTS),
            },
            "data": {
                "source": "image_folder",
                "calibration_path": str(IMAGES / "train"),
                "evaluation_path": str(IMAGES / "test"),
                "evaluation_images": 256,
            },
            "trainer": {"device": "cpu"},
        }
    )
    weights = build(config.model, seed=0).weights
    assert weights.key == "state_dict" and weights.match == "name" and weights.renamed == 0
    assert evaluate.evaluate(config)[1].top1 > 0.8  # 0.810 on all 5,000, which were made JPEGs
