from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.config.schema import RunConfig
from mrecg.data.images import draw, load
from mrecg.errors import ConfigError, DataError

Config = Callable[..., RunConfig]
SHAPE = (3, 16, 16)


@pytest.fixture
def config(tiny_config: Config) -> DataConfig:
    return tiny_config().data


def pixels(path: Path, config: DataConfig) -> Tensor:
    """The normalised picture, by NumPy."""
    values = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    values = (values - np.float32(config.mean)) / np.float32(config.std)
    return torch.from_numpy(values).permute(2, 0, 1)


def test_calibration_images_are_a_seeded_draw_of_the_files(config: DataConfig) -> None:
    assert config.calibration_path is not None
    images = load(config, input_shape=SHAPE)
    assert images.name == "pictures" and images.calibration.shape == (12, *SHAPE)
    files = sorted(config.calibration_path.iterdir())
    chosen = draw(18, 12, seed=0, what="")
    assert len(files) == 18 and chosen == sorted(set(chosen)) != list(range(12))
    expected = torch.stack([pixels(files[i], config) for i in chosen])
    torch.testing.assert_close(images.calibration, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(load(config, input_shape=SHAPE).calibration, images.calibration)
    other = load(replace(config, seed=1), input_shape=SHAPE)
    assert not torch.equal(other.calibration, images.calibration)


def test_labels_are_numbered_by_all_classes(config: DataConfig) -> None:
    # val/ holds b and c of the classes a, b, c.
    batches = list(load(config, input_shape=SHAPE).batches())
    assert [len(labels) for _, labels in batches] == [8, 4]
    assert torch.cat([labels for _, labels in batches]).tolist() == [1] * 6 + [2] * 6
    own = load(replace(config, classes_path=None), input_shape=SHAPE)
    assert torch.cat([labels for _, labels in own.batches()]).tolist() == [0] * 6 + [1] * 6


def test_evaluation_can_be_a_draw_or_nothing(config: DataConfig) -> None:
    few = load(replace(config, evaluation_images=5), input_shape=SHAPE)
    assert len(few) == 5 and sum(len(labels) for _, labels in few.batches()) == 5
    none = load(replace(config, evaluation_path=None), input_shape=SHAPE)
    assert len(none) == 0 and list(none.batches()) == []


def test_images_are_resized_and_cropped(config: DataConfig) -> None:
    images = load(replace(config, resize=12), input_shape=(3, 8, 8))
    assert images.calibration.shape == (12, 3, 8, 8)
    x, _ = next(images.batches())
    assert x.shape == (8, 3, 8, 8)


def test_sub_folders_and_other_files_are_looked_through(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("no picture")
    for i, name in enumerate(("x.PNG", "deep/y.jpeg", "deep/er/z.bmp")):
        Image.fromarray(np.full((16, 16), 80 * i, dtype=np.uint8)).save(tmp_path / name)  # grey becomes RGB
    images = load(
        DataConfig(source="image_folder", calibration_path=tmp_path, calibration_images=3), input_shape=SHAPE
    )
    assert images.calibration.shape == (3, *SHAPE)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"calibration_path": "no/where"}, ConfigError, r"^data\.calibration_path: no/where does not exist"),
        ({"evaluation_path": "no/where"}, ConfigError, r"^data\.evaluation_path: no/where does not exist"),
        ({"classes_path": "no/where"}, ConfigError, r"^data\.classes_path: no/where does not exist"),
        ({"calibration_images": 19}, DataError, r"^data\.calibration_images: 19 images .* there are 18"),
        ({"evaluation_images": 13}, DataError, r"^data\.evaluation_images: 13 images .* there are 12"),
        ({"calibration_path": "classes"}, DataError, r"classes: holds no image \(\.jpg, "),
        ({"evaluation_path": "train"}, DataError, r"^data\.evaluation_path: wants a sub-folder of images"),
        ({"classes_path": "val/b"}, DataError, r"^data\.classes_path: .* has no class b \(2 are missing\)"),
    ],
)
def test_what_is_wrong_is_named(
    changes: dict[str, object], error: type[Exception], message: str, config: DataConfig, pictures: Path
) -> None:
    for key, value in changes.items():
        if isinstance(value, str) and (pictures / value).exists():
            changes = {key: pictures / value}
        elif isinstance(value, str):
            changes = {key: Path(value)}
    with pytest.raises(error, match=message):
        load(replace(config, **changes), input_shape=SHAPE)  # type: ignore[arg-type]


def test_a_broken_picture_is_named(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        load(replace(config, calibration_path=tmp_path, calibration_images=1), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("source", "shape", "error", "message"),
    [
        ("digits", (3, 28, 28), DataError, r"images of shape \(3, 32, 32\), the model takes \(3, 28, 28\)"),
        ("none", SHAPE, DataError, "data=none has no images"),
        ("python", SHAPE, ConfigError, r"^data\.source: python is for images passed to mrecg\.quantize"),
    ],
)
def test_sources_without_fitting_images_are_errors(
    source: str, shape: tuple[int, int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(DataConfig(source=source), input_shape=shape)  # type: ignore[arg-type]


def test_a_grey_model_does_not_take_colour(config: DataConfig) -> None:
    with pytest.raises(DataError, match=r"shape \(3, 16, 16\), the model takes \(1, 16, 16\)"):
        load(config, input_shape=(1, 16, 16))
