from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torchvision import models

from mrecg.config.inputs import ModelConfig, PreprocessingConfig
from mrecg.config.validate import run_config
from mrecg.data import digits
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError
from mrecg.models.preprocessing import resolve

MEAN, STD, HALF = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.5, 0.5, 0.5)
"""ImageNet's, and what maps [0, 1] to [-1, 1]."""


def torchvision(name: str, **values: Any) -> ModelConfig:
    return ModelConfig(source="torchvision", name=name, **values)


def target(**values: Any) -> ModelConfig:
    return ModelConfig(source="target", target="tiny_net.build", **{"input_shape": (3, 8, 8), **values})


@pytest.mark.parametrize(
    ("name", "weights", "size", "resize", "mean", "std", "origin"),
    [
        ("resnet50", "IMAGENET1K_V1", 224, 256, MEAN, STD, "ResNet50_Weights.IMAGENET1K_V1"),
        ("resnet50", "IMAGENET1K_V2", 224, 232, MEAN, STD, "ResNet50_Weights.IMAGENET1K_V2"),
        ("resnet50", None, 224, 232, MEAN, STD, "ResNet50_Weights.IMAGENET1K_V2"),
        ("mobilenet_v2", "DEFAULT", 224, 232, MEAN, STD, "MobileNet_V2_Weights.IMAGENET1K_V2"),
        ("inception_v3", "DEFAULT", 299, 342, MEAN, STD, "Inception_V3_Weights.IMAGENET1K_V1"),
        ("inception_v3", None, 299, 342, HALF, HALF,
         "Inception_V3_Weights.IMAGENET1K_V1 without transform_input"),
    ],
)  # fmt: skip
def test_torchvision_says_what_its_weights_want(
    name: str, weights: str | None, size: int, resize: int, mean: Any, std: Any, origin: str
) -> None:
    assert resolve(torchvision(name, weights=weights)) == Preprocessing(
        input_shape=(3, size, size), mean=mean, std=std, resize=resize, origin=origin
    )


def test_interpolation_is_that_of_the_weights() -> None:
    assert resolve(torchvision("efficientnet_b0")).interpolation == "bicubic"
    assert resolve(torchvision("resnet18")).interpolation == "bilinear"


def test_googlenet_sees_the_same_with_and_without_its_own_normalisation() -> None:
    inside = resolve(torchvision("googlenet", weights="DEFAULT"))
    assert inside == resolve(torchvision("googlenet", arguments={"transform_input": True}))
    outside = resolve(torchvision("googlenet"))
    images = torch.rand(2, 3, 4, 4)

    def normalised(wants: Preprocessing) -> torch.Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (wants.mean, wants.std))
        return (images - mean) / std

    own = models.GoogLeNet._transform_input(SimpleNamespace(transform_input=True), normalised(inside))
    torch.testing.assert_close(own, normalised(outside))


def test_timm_says_what_its_weights_want() -> None:
    pytest.importorskip("timm")
    found = resolve(ModelConfig(source="timm", name="tf_efficientnet_lite0"))
    assert found == Preprocessing(
        input_shape=(3, 224, 224),
        mean=HALF,
        std=HALF,
        resize=256,
        interpolation="bicubic",
        origin="timm tf_efficientnet_lite0.in1k",
    )
    named = ModelConfig(source="timm", name="resnet50", weights="a1_in1k")
    assert resolve(named).origin == "timm resnet50.a1_in1k" and resolve(named).resize == 235
    assert resolve(ModelConfig(source="timm", name="resnet50", weights="tv_in1k")).resize == 256


def test_what_timm_wants_and_we_have_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    said = timm.get_pretrained_cfg("resnet18")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: said)
    config = ModelConfig(source="timm", name="resnet18")
    said.interpolation = "lanczos"
    with pytest.raises(
        ConfigError, match=r"interpolation: timm resnet18\.\w+ requires 'lanczos'; choose from n"
    ):
        resolve(config)
    own = PreprocessingConfig(interpolation="bicubic")
    assert resolve(ModelConfig(source="timm", name="resnet18", preprocessing=own)).interpolation == "bicubic"
    said.interpolation, said.crop_mode = "bicubic", "squash"
    with pytest.raises(ConfigError, match=r"\.resize: timm resnet18\.\w+ requires images cropped by 'squas"):
        resolve(config)
    own = PreprocessingConfig(resize=240)
    assert resolve(ModelConfig(source="timm", name="resnet18", preprocessing=own)).resize == 240


def test_the_embedded_model_wants_its_digits() -> None:
    assert resolve(ModelConfig()) == Preprocessing(
        input_shape=(3, 32, 32), mean=(digits.MEAN,) * 3, std=(digits.STD,) * 3, origin="embedded"
    )


def test_a_target_is_given_imagenets_mean_and_std() -> None:
    found = resolve(target())
    assert found == Preprocessing(input_shape=(3, 8, 8), mean=MEAN, std=STD, origin=found.origin)
    assert found.origin == "ImageNet's mean and std, not resized, input_shape configured"


def test_a_target_needs_a_shape() -> None:
    message = r"^model\.input_shape: needs \[channels, height, width\] for model\.source="
    with pytest.raises(ConfigError, match=f"{message}target"):
        run_config({"model": {"source": "target", "target": "tiny_net.build"}})
    with pytest.raises(ConfigError, match=f"{message}python"):
        resolve(ModelConfig(source="python"))


def test_what_the_user_says_counts() -> None:
    own = {"mean": (0.1, 0.2, 0.3), "std": (0.4,), "resize": 70, "interpolation": "nearest"}
    config = torchvision("resnet18", input_shape=(3, 64, 64), preprocessing=PreprocessingConfig(**own))
    assert resolve(config) == Preprocessing(
        input_shape=(3, 64, 64),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.4, 0.4),
        resize=70,
        interpolation="nearest",
        origin="input_shape and mean and std and resize and interpolation configured",
    )


def test_the_rest_is_what_the_weights_say() -> None:
    own = PreprocessingConfig(resize=240)
    found = resolve(torchvision("resnet18", preprocessing=own))
    assert (found.resize, found.mean, found.input_shape) == (240, MEAN, (3, 224, 224))
    assert found.origin == "ResNet18_Weights.IMAGENET1K_V1, resize configured"


@pytest.mark.parametrize(
    ("shape", "resize"), [((3, 112, 112), 128), ((3, 64, 112), 128), ((3, 448, 448), 512), ((3, 90, 90), 102)]
)
def test_resize_follows_the_size_in_proportion(shape: tuple[int, int, int], resize: int) -> None:
    found = resolve(torchvision("resnet18", input_shape=shape))
    assert found.input_shape == shape and found.resize == resize
    assert found.origin == ("ResNet18_Weights.IMAGENET1K_V1, input_shape configured, resize in proportion")


def test_the_weights_own_size_changes_nothing() -> None:
    found = resolve(torchvision("resnet18", input_shape=(3, 224, 224)))
    assert found.resize == 256 and "proportion" not in found.origin


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (torchvision("resnet18", input_shape=(1, 224, 224)),
         r"^model\.preprocessing\.mean: 3 values \[0\.485, 0\.456, 0\.406\] for the 1 channels of "),
        (target(input_shape=(1, 8, 8)), r"^model\.preprocessing\.mean: 3 values"),
        (target(preprocessing=PreprocessingConfig(mean=(0.5, 0.5))),
         r"^model\.preprocessing\.mean: 2 values \[0\.5, 0\.5\] for the 3 channels of model\.input_shape; "
         r"give model\.preprocessing\.mean one value, or one per channel$"),
        (target(preprocessing=PreprocessingConfig(std=(1, 1, 1, 1))),
         r"^model\.preprocessing\.std: 4 values .* for the 3 channels"),
        (torchvision("resnet81"), r"^model\.name: 'resnet81' is not a choice"),
        (torchvision("resnet18", weights="V3"), r"^model\.weights: 'V3' is not a choice"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(config)


def test_one_value_serves_any_number_of_channels() -> None:
    own = PreprocessingConfig(mean=(0.5,), std=(0.25,))
    found = resolve(target(input_shape=(2, 8, 8), preprocessing=own))
    assert found.mean == (0.5, 0.5) and found.std == (0.25, 0.25)


def test_nothing_is_downloaded_to_know_it(no_network: None) -> None:
    resolve(torchvision("resnet18", weights="DEFAULT"))
