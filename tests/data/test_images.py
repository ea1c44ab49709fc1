import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from mrecg.config.inputs import DataConfig
from mrecg.data.given_labels import from_python
from mrecg.data.images import Images, load
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.sampling import draw
from mrecg.errors import ConfigError, DataError

Load = Callable[..., Images]


def normalised(path: Path, wants: Preprocessing) -> Tensor:
    """The picture, by NumPy."""
    values = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    values = (values - np.float32(wants.mean)) / np.float32(wants.std)
    return torch.from_numpy(values).permute(2, 0, 1)


def labels_of(images: Images) -> list[int]:
    return torch.cat([labels for _, labels in images.batches()]).tolist()


def test_calibration_images_are_a_seeded_draw_of_the_files(
    images: Load, config: DataConfig, preprocessing: Preprocessing
) -> None:
    assert config.calibration_path is not None
    found = images()
    assert found.name == "pictures" and found.calibration.shape == (12, 3, 16, 16)
    files = sorted(config.calibration_path.iterdir())
    chosen = draw(18, 12, seed=0, what="")
    assert len(files) == 18 and chosen == sorted(set(chosen)) != list(range(12))
    expected = torch.stack([normalised(files[i], preprocessing) for i in chosen])
    torch.testing.assert_close(found.calibration, expected, rtol=1e-5, atol=1e-5)
    assert found.drawn.names == tuple(files[i].name for i in chosen)
    assert (found.drawn.images, found.drawn.available, found.drawn.seed) == (12, 18, 0)
    assert torch.equal(images().calibration, found.calibration) and images().drawn == found.drawn
    other = images(seed=1)
    assert not torch.equal(other.calibration, found.calibration)
    assert other.drawn.sha256 != found.drawn.sha256 and other.drawn.names != found.drawn.names


def test_the_draw_does_not_depend_on_where_the_folder_lies(
    images: Load, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures, tmp_path / "-elsewhere")
    monkeypatch.chdir(tmp_path)
    moved = images(calibration_path=Path("-elsewhere/train"), evaluation_path=Path("-elsewhere/val/."))
    assert moved.draws == images().draws and moved.as_dict() == images().as_dict()


def test_the_hash_sees_pixels_names_and_labels(images: Load, pictures: Path, tmp_path: Path) -> None:
    before = images().draws
    assert all(drawn is not None and len(drawn.sha256) == 64 for drawn in before.values())
    shutil.copytree(pictures, root := tmp_path / "changed")
    (root / "val" / "b").rename(root / "val" / "a")
    changed = images(calibration_path=root / "train", evaluation_path=root / "val").draws
    assert before["calibration"] == changed["calibration"] != None  # noqa: E711
    assert before["evaluation"].sha256 != changed["evaluation"].sha256  # type: ignore[union-attr]
    assert images(wants={"mean": (0.0,)}).drawn.sha256 != images().drawn.sha256
    first = images().drawn.names[0]
    (root / "train" / first).rename(root / "train" / f"0{first}")
    renamed = images(calibration_path=root / "train")
    assert torch.equal(renamed.calibration, images().calibration)
    assert renamed.drawn.sha256 != images().drawn.sha256


def test_labels_are_numbered_by_all_classes(images: Load, tmp_path: Path) -> None:
    # val/ holds b and c of the classes a, b, c.
    assert [len(labels) for _, labels in images().batches()] == [8, 4]
    assert labels_of(images()) == [1] * 6 + [2] * 6
    assert labels_of(images(classes_path=None)) == [0] * 6 + [1] * 6
    (tmp_path / "classes.txt").write_text("c\n\n a \nb\n")
    assert labels_of(images(classes_path=tmp_path / "classes.txt")) == [2] * 6 + [0] * 6


def test_evaluation_can_be_a_draw_or_nothing(images: Load) -> None:
    few = images(evaluation_images=5)
    assert len(few) == 5 == len(labels_of(few))
    record = few.draws["evaluation"]
    assert record is not None and (record.images, record.available, record.seed) == (5, 12, 0)
    every = images().draws["evaluation"]
    assert every is not None and (every.images, every.available, every.seed) == (12, 12, None)
    assert record.names == tuple(every.names[i] for i in draw(12, 5, seed=0, what=""))
    none = images(evaluation_path=None)
    assert len(none) == 0 and list(none.batches()) == [] and none.draws["evaluation"] is None
    assert none.as_dict()["evaluation"] is None


def test_the_labels_in_the_record_are_those_of_a_pass(images: Load) -> None:
    passed, untouched = images(), images()
    assert labels_of(passed) and passed.draws == untouched.draws
    broken_off = images()
    next(broken_off.batches())
    assert broken_off.draws == untouched.draws


@pytest.mark.parametrize("kind", ["image_folder", "dataset"])
def test_processes_that_read_change_nothing(kind: str, images: Load) -> None:
    base = DataConfig(
        source="dataset",
        calibration_dataset="tiny_data.Squares",
        evaluation_dataset="tiny_data.Squares",
        calibration_images=2,
        batch_size=4,
    )
    more = {"base": base} if kind == "dataset" else {}
    state = torch.random.get_rng_state()
    here, there = images(**more), images(**more, workers=2)
    assert here.draws == there.draws
    for (x, y), (other_x, other_y) in zip(here.batches(), there.batches(), strict=True):
        assert torch.equal(x, other_x) and torch.equal(y, other_y)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_named_in_one_line(
    workers: int, images: Load, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png: is no image that can be read"):
        images(calibration_path=tmp_path, calibration_images=1)
    shutil.copytree(pictures / "val", tmp_path / "val")
    found = images(evaluation_path=tmp_path / "val", workers=workers)
    last = sorted((tmp_path / "val" / "c").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:200])
    with pytest.raises(DataError, match=f"{last.name}: is no image that can be read") as caught:
        list(found.batches())
    assert "\n" not in str(caught.value)


def test_calibration_images_are_left_alone_where_nobody_wants_them(
    config: DataConfig, preprocessing: Preprocessing
) -> None:
    found = load(
        replace(config, calibration_path=Path("no/where")), preprocessing=preprocessing, calibration=False
    )
    assert found.calibration.shape == (0, 3, 16, 16) and len(labels_of(found)) == len(found) == 12


def test_progress_is_told_of_every_calibration_image(
    config: DataConfig, preprocessing: Preprocessing
) -> None:
    told: list[int] = []

    @contextmanager
    def stage(count: int) -> Iterator[Callable[[int], None]]:
        told.append(count)
        yield told.append

    load(config, preprocessing=preprocessing, stage=stage)
    assert told == [12, *[1] * 12]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"calibration_path": "no/where"}, ConfigError, r"^data\.calibration_path: no/where does not exist"),
        ({"evaluation_path": "no/where"}, ConfigError, r"^data\.evaluation_path: no/where does not exist"),
        ({"classes_path": "no/where"}, ConfigError, r"^data\.classes_path: no/where does not exist"),
        ({"labels_path": "no/where"}, ConfigError, r"^data\.labels_path: no/where does not exist"),
        ({"calibration_images": 19}, DataError, r"^data\.calibration_images: 19 images .* there are 18"),
        ({"evaluation_images": 13}, DataError, r"^data\.evaluation_images: 13 images .* there are 12"),
        ({"calibration_path": "classes"}, DataError, r"^data\.calibration_path: .*classes holds no image"),
        ({"evaluation_path": "classes"}, DataError, r"^data\.evaluation_path: .*classes holds no image"),
        ({"evaluation_path": "train"}, DataError, r"^data\.evaluation_path: .*train wants a sub-folder"),
        ({"classes_path": "."}, DataError, r"^data\.classes_path: .* has no class b \(2 are missing\)"),
        ({"classes_path": "val/b"}, DataError, r"^data\.classes_path: .*val/b has no sub-folder"),
    ],
)
def test_what_is_wrong_is_named(
    changes: dict[str, object], error: type[Exception], message: str, images: Load, pictures: Path
) -> None:
    ((key, value),) = changes.items()
    if isinstance(value, str):
        value = pictures / value if (pictures / value).exists() else Path(value)
    with pytest.raises(error, match=message):
        images(**{key: value})


@pytest.mark.parametrize(
    ("source", "shape", "error", "message"),
    [
        ("digits", (3, 28, 28), DataError, r"images of shape \(3, 32, 32\), the model takes \(3, 28, 28\)"),
        ("none", (3, 16, 16), DataError, "data=none has no images"),
        ("python", (3, 16, 16), ConfigError, r"^data\.source: python is for images passed to mrecg\."),
    ],
)
@pytest.mark.parametrize("calibration", [False, True])
def test_sources_without_fitting_images_are_errors(
    source: str,
    shape: tuple[int, int, int],
    error: type[Exception],
    message: str,
    calibration: bool,
    preprocessing: Preprocessing,
) -> None:
    wants = replace(preprocessing, input_shape=shape)
    with pytest.raises(error, match=message):
        load(DataConfig(source=source), preprocessing=wants, calibration=calibration)  # type: ignore[arg-type]


def test_images_from_python_are_recorded_without_names() -> None:
    config = DataConfig(source="python", batch_size=3)
    pixels, labels = torch.randn(5, 3, 8, 8), torch.tensor([3, 1, 4, 1, 5])
    found = from_python(config, pixels, TensorDataset(pixels, labels))  # type: ignore[arg-type]
    assert [len(y) for _, y in found.batches()] == [3, 2] and labels_of(found) == labels.tolist()
    given, evaluated = found.draws["calibration"], found.draws["evaluation"]
    assert given is not None and evaluated is not None
    for record in (given, evaluated):
        assert (record.images, record.available, record.seed, record.names) == (5, 5, None, ())
    again = from_python(config, pixels.contiguous(memory_format=torch.channels_last), None)
    assert again.drawn == given and again.draws["evaluation"] is None
    assert from_python(config, pixels + 1, None).drawn.sha256 != given.sha256
    other = from_python(config, pixels, TensorDataset(pixels, labels.flip(0)))  # type: ignore[arg-type]
    assert other.draws["evaluation"] != evaluated
