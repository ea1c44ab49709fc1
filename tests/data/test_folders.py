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


def numbered(root: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        save(root / name / "1.png", 10 * i)
    return root


def labels_of(found: Images) -> dict[str, int]:
    record = found.draws["evaluation"]
    assert record is not None
    values = torch.cat([labels for _, labels in found.batches()]).tolist()
    return {name.split("/")[0]: label for name, label in zip(record.names, values, strict=True)}


@pytest.mark.parametrize(
    "names",
    [[str(i) for i in range(12)], [f"{i:02d}" for i in range(12)], ["0", "217", "482", "9"], ["7", "8"]],
)
def test_folders_that_are_numbers_are_their_labels(names: list[str], images: Load, tmp_path: Path) -> None:
    found = images(evaluation_path=numbered(tmp_path, names), classes_path=None)
    assert labels_of(found) == {name: int(name) for name in names}
    notes = found.check_labels(1000)
    first, last = min(names, key=int), max(names, key=int)
    as_text = sorted(names) == sorted(names, key=int) and int(first) == 0
    assert (
        notes == ()
        if as_text
        else f"folders are numbers, which are the labels ({first} to {last})" in notes[0]
    )


def test_a_number_among_names_is_a_name(images: Load, tmp_path: Path) -> None:
    found = images(evaluation_path=numbered(tmp_path, ["10", "2", "cat"]), classes_path=None)
    assert labels_of(found) == {"10": 0, "2": 1, "cat": 2}


def test_folders_that_are_numbers_name_the_classes_by_value(images: Load, tmp_path: Path) -> None:
    place = numbered(tmp_path, [str(i) for i in range(1, 13)])
    found = images(evaluation_path=place, classes_path=place)
    assert labels_of(found) == {str(i): i - 1 for i in range(1, 13)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1", "01", "2"], r"the folders (01 and 1|1 and 01) are the same number; rename one"),
        (["0", "00"], r"are the same number"),
        (["0", "9" * 200], r"folder of 200 digits is out of range"),
        (["0", str(2**63)], rf"folder {2**63} is out of range"),
    ],
)
def test_numbers_that_are_no_labels_are_named(
    names: list[str], message: str, images: Load, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        images(evaluation_path=numbered(tmp_path, names), classes_path=None)


def test_fewer_classes_than_outputs_are_noted(images: Load, pictures: Path, tmp_path: Path) -> None:
    val = pictures / "val"
    assert images(classes_path=None).check_labels(1000) == (
        f"data.evaluation_path: {val}: 2 folders, 1,000 outputs: numbered 0 to 1; name the classes by "
        "data.classes_path",
    )
    assert images(classes_path=None).check_labels(2) == ()
    (note,) = images().check_labels(10)
    assert note.startswith(f"data.classes_path: {pictures / 'classes'}: 3 names, 10 outputs: numbered 0 to 2")
    name = sorted((val / "b").iterdir())[0].name
    (tmp_path / "l.csv").write_text(f"file,label\nb/{name},cat\n")
    (note,) = images(labels_path=tmp_path / "l.csv", classes_path=None).check_labels(10)
    assert note.startswith(f"data.labels_path: {tmp_path / 'l.csv'}: 1 names, 10 outputs")
    (tmp_path / "l.csv").write_text(f"file,label\nb/{name},3\n")
    assert images(labels_path=tmp_path / "l.csv", classes_path=None).check_labels(10) == ()


def test_a_label_beyond_the_outputs_is_known_before_an_image_is_read(images: Load, pictures: Path) -> None:
    with pytest.raises(
        DataError, match=r"^data\.classes_path: .*: an image has label 2, the model 2 outputs; see"
    ):
        images().check_labels(2)
    images().check_labels(3)
