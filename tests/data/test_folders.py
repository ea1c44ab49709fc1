from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mrecg.data.folders import picture_names
from mrecg.data.images import Images
from mrecg.errors import DataError

Load = Callable[..., Images]


def save(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16), shade, dtype=np.uint8)).save(path)
    return path


def test_pictures_are_found_at_any_depth_and_sorted_as_text(tmp_path: Path) -> None:
    for name in ("x.PNG", "a/z.jpeg", "a-b/y.bmp", "a/er/w.webp", ".hidden/v.png", ".u.png"):
        save(tmp_path / name, 0)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    save(tmp_path.parent / "linked" / "t.png", 0)
    (tmp_path / "link").symlink_to(tmp_path.parent / "linked", target_is_directory=True)
    # "-" sorts before "/"; a sort by path components would put a/ first.
    assert picture_names(tmp_path) == ["a-b/y.bmp", "a/er/w.webp", "a/z.jpeg", "link/t.png", "x.PNG"]


def test_sub_folders_are_looked_through(images: Load, tmp_path: Path) -> None:
    for i, name in enumerate(("x.PNG", "deep/y.bmp", "deep/er/z.bmp")):
        save(tmp_path / name, 80 * i)
    found = images(calibration_path=tmp_path, calibration_images=3, wants={"mean": (0.0,), "std": (1.0,)})
    assert found.drawn.names == ("deep/er/z.bmp", "deep/y.bmp", "x.PNG")
    shades = (found.calibration * 255).round().flatten(1)
    assert shades.min(1).values.tolist() == shades.max(1).values.tolist() == [160, 80, 0]  # grey is colour


def test_a_class_without_pictures_keeps_its_number_and_hidden_folders_have_none(
    images: Load, tmp_path: Path
) -> None:
    for name in ("a/1.png", "c/deep/2.png", ".checkpoints/3.png"):
        save(tmp_path / name, 0)
    (tmp_path / "b").mkdir()
    save(tmp_path / "4.png", 0)  # beside the classes
    found = images(evaluation_path=tmp_path, classes_path=None)
    record = found.draws["evaluation"]
    assert record is not None and record.names == ("a/1.png", "c/deep/2.png")
    assert torch.cat([labels for _, labels in found.batches()]).tolist() == [0, 2]


def test_labels_can_be_in_a_table(images: Load, tmp_path: Path, pictures: Path) -> None:
    for i, name in enumerate(("one.png", "sub/two.png", "three.png")):
        save(tmp_path / "val" / name, 100 * i)
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nthree.png,b\none.png,c\nsub/two.png,a\n")
    place = {"evaluation_path": tmp_path / "val", "labels_path": table, "wants": {"mean": (0,), "std": (1,)}}
    found = images(**place)
    ((x, labels),) = found.batches()
    record = found.draws["evaluation"]
    assert record is not None and record.names == ("one.png", "sub/two.png", "three.png")
    assert labels.tolist() == [2, 0, 1]
    assert (x.flatten(1).max(1).values * 255).round().tolist() == [0, 100, 200]


@pytest.mark.parametrize("path", ["train", "val"])
def test_a_file_in_the_place_of_a_folder_is_an_error(path: str, images: Load, tmp_path: Path) -> None:
    file = save(tmp_path / "x.png", 0)
    key = {"train": "calibration_path", "val": "evaluation_path"}[path]
    with pytest.raises(DataError, match=rf"^data\.{key}: .*x\.png is no folder"):
        images(**{key: file})
