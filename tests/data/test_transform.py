import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import InterpolationMode, v2

from mrecg.config.inputs import DataConfig
from mrecg.data.images import Images
from mrecg.data.pictures import read_picture
from mrecg.data.preprocessing import Interpolation, Preprocessing
from mrecg.data.transform import Transform
from mrecg.errors import ConfigError, DataError

Load = Callable[..., Images]
DATA = os.environ.get("MRECG_TEST_DATA", "")


def picture(height: int, width: int, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze())


def of_weights(weights: Any) -> tuple[Any, Preprocessing]:
    """Torchvision's own transform, and the same in our words."""
    preset = weights.transforms()
    crop = preset.crop_size[0]
    return preset, Preprocessing(
        input_shape=(3, crop, crop),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
    )


@pytest.mark.parametrize("shape", [(300, 280), (231, 640), (480, 257), (100, 120)])
@pytest.mark.parametrize(
    "weights",
    [
        models.ResNet18_Weights.IMAGENET1K_V1,  # 256, bilinear, 224
        models.MobileNet_V2_Weights.IMAGENET1K_V2,  # 232
        models.EfficientNet_B0_Weights.IMAGENET1K_V1,  # bicubic
        models.Inception_V3_Weights.IMAGENET1K_V1,  # 342, 299, mean of its own
    ],
    ids=str,
)
def test_the_outcome_is_that_of_torchvisions_presets(weights: Any, shape: tuple[int, int]) -> None:
    preset, wants = of_weights(weights)
    ours = Transform.of(DataConfig(), wants)(picture(*shape), "x")
    assert torch.equal(ours, preset(picture(*shape)))


@pytest.mark.parametrize("how", get_args(Interpolation))
@pytest.mark.parametrize("resize", [20, 40, 100])
def test_resizing_smooths_and_interpolates_as_told(how: Interpolation, resize: int) -> None:
    wants = Preprocessing(input_shape=(3, 16, 16), mean=(0.5,), std=(0.25,), resize=resize, interpolation=how)
    ours = Transform.of(DataConfig(), wants)(picture(60, 40), "x")
    preset = models.ResNet18_Weights.IMAGENET1K_V1.transforms(
        crop_size=16,
        resize_size=resize,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        interpolation=InterpolationMode(how),
    )
    assert torch.equal(ours, preset(picture(60, 40)))
    reference = v2.Compose(
        [
            v2.Resize(resize, InterpolationMode(how), antialias=True),
            v2.CenterCrop(16),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),  # divides in another order than the presets
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    torch.testing.assert_close(ours, reference(picture(60, 40)).as_subclass(torch.Tensor), rtol=0, atol=1e-6)
    others = set(get_args(Interpolation)) - {how}
    for other in others if resize != 40 else ():  # at 40 nothing is resized
        changed = Transform.of(DataConfig(), replace(wants, interpolation=other))(picture(60, 40), "x")
        assert not torch.equal(ours, changed)


@pytest.mark.parametrize(("key", "shorter"), [("model", 20), (18, 18), ("none", None)])
def test_the_config_has_its_way_over_the_model(
    key: Any, shorter: int | None, preprocessing: Preprocessing
) -> None:
    wants = replace(preprocessing, resize=20)
    ours = Transform.of(DataConfig(resize=key), wants)(picture(30, 34), "x")
    expected = Transform(replace(wants, resize=None), shorter, "")(picture(30, 34), "x")
    assert ours.shape == (3, 16, 16) and torch.equal(ours, expected)
    if key == "none":
        middle = torch.from_numpy(np.array(picture(30, 34)))[7:23, 9:25].permute(2, 0, 1) / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (wants.mean, wants.std))
        torch.testing.assert_close(ours, (middle - mean) / std)


def test_images_of_folders_go_this_way(images: Load, pictures: Path) -> None:
    found = images(resize=12, wants={"input_shape": (3, 8, 8), "interpolation": "bicubic"})
    wants = Preprocessing(
        input_shape=(3, 8, 8),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
    )
    transform = Transform(wants, 12, "")
    files = [pictures / "train" / name for name in found.drawn.names]
    assert torch.equal(found.calibration, torch.stack([transform(Image.open(f), "") for f in files]))
    x, _ = next(found.batches())
    first = sorted((pictures / "val" / "b").iterdir())[0]
    assert x.shape == (8, 3, 8, 8) and torch.equal(x[0], transform(Image.open(first), ""))


def test_a_grey_model_gets_grey_and_one_mean_serves_all_channels(
    images: Load, preprocessing: Preprocessing
) -> None:
    grey = images(wants={"input_shape": (1, 16, 16), "mean": (0.5,), "std": (0.5,)})
    assert grey.calibration.shape == (12, 1, 16, 16)
    wants = replace(preprocessing, input_shape=(1, 16, 16), mean=(0.0,), std=(1.0,))
    ours = Transform.of(DataConfig(), wants)(picture(16, 16), "x")
    assert torch.equal(ours[0], torch.from_numpy(np.array(picture(16, 16).convert("L"))) / 255)
    one = Transform.of(DataConfig(), replace(preprocessing, mean=(0.3,), std=(0.2,)))
    three = Transform.of(DataConfig(), replace(preprocessing, mean=(0.3,) * 3, std=(0.2,) * 3))
    assert torch.equal(one(picture(16, 16), "x"), three(picture(16, 16), "x"))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
def test_other_modes_become_colour(mode: str, preprocessing: Preprocessing) -> None:
    stored = picture(16, 16).convert(mode)
    transform = Transform.of(DataConfig(), preprocessing)
    assert torch.equal(transform(stored, "x"), transform(stored.convert("RGB"), "x"))


@pytest.mark.parametrize(
    ("changes", "wants", "error", "message"),
    [
        ({"resize": 15}, {}, DataError, r"\.(png|jpg): is 15 x 15 pixels .*resize=15, too small .*16 x 16"),
        ({}, {"resize": 12}, DataError, r"is 12 x 12 pixels \(height x width\) with data\.resize=model, too"),
        ({"resize": "none"}, {"input_shape": (3, 16, 20)}, DataError, r"resize=none \(as stored\).* 16 x 20"),
        ({}, {"input_shape": (3, 17, 16)}, DataError, r"data\.resize=model \(as stored\).* 17 x 16"),
        ({}, {"input_shape": (4, 16, 16)}, DataError, r"is a picture, and the model takes 4 channels"),
        ({}, {"input_shape": (1, 16, 16)}, ConfigError, r"^model\.preprocessing\.mean: has 3 .*takes 1 ch"),
        ({}, {"std": (1.0, 1.0)}, ConfigError, r"^model\.preprocessing\.std: has 2 values .*give 1 or 3"),
        ({}, {"std": (0.0,)}, ConfigError, r"^model\.preprocessing\.std: \[0\.0\] is not right"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    changes: dict[str, Any], wants: dict[str, Any], error: type[Exception], message: str, images: Load
) -> None:
    with pytest.raises(error, match=message):
        images(**changes, wants=wants)


def test_deep_pixels_are_not_clipped_but_refused(
    images: Load, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: has pixels of Pillow's mode I;16; wants 8 bits"):
        images(calibration_path=tmp_path, calibration_images=1)
    Image.fromarray(np.full((16, 16), 0.5, dtype=np.float32)).save(tmp_path / "deep.tiff")
    (tmp_path / "deep.png").unlink()
    with pytest.raises(DataError, match=r"deep\.tiff: has pixels of Pillow's mode F; wants 8 bits"):
        images(calibration_path=tmp_path, calibration_images=1)


def test_a_mode_that_pillow_does_not_convert_is_an_error(preprocessing: Preprocessing) -> None:
    grey = Transform.of(
        DataConfig(), replace(preprocessing, input_shape=(1, 16, 16), mean=(0.5,), std=(1.0,))
    )
    with pytest.raises(DataError, match=r"^x: conversion from LAB to .* not supported$"):
        grey(Image.new("LAB", (16, 16)), "x")


@pytest.mark.shared_data
@pytest.mark.skipif(
    not DATA or not (Path(DATA) / "imagenet-mini").is_dir(),
    reason="MRECG_TEST_DATA names no folder with imagenet-mini",
)
def test_real_pictures_come_as_torchvision_gives_them(images: Load) -> None:
    root = Path(DATA) / "imagenet-mini"
    preset, wants = of_weights(models.ResNet18_Weights.IMAGENET1K_V1)
    found = images(
        DataConfig(source="image_folder", calibration_path=root / "train", evaluation_path=root / "val"),
        wants=vars(wants),
        classes_path=root / "train",
        calibration_images=4,
        evaluation_images=4,
    )
    assert found.drawn.available == 1000
    files = [read_picture(root / "train" / name) for name in found.drawn.names]
    assert torch.equal(found.calibration, torch.stack([preset(file.convert("RGB")) for file in files]))
    ((_, labels),) = found.batches()
    record = found.draws["evaluation"]
    assert record is not None
    classes = sorted(path.name for path in (root / "train").iterdir())
    assert labels.tolist() == [classes.index(name.split("/")[0]) for name in record.names]
