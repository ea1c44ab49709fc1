"""Folders of pictures: calibration without labels, evaluation by sub-folders or by a CSV file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.config.validate import existing
from mrecg.data.labels import are_numbers, class_names, number_of, read_table, sub_folders
from mrecg.data.pictures import read_picture
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.source import Labels, Part, Source, register
from mrecg.data.transform import Transform
from mrecg.errors import DataError


@dataclass(frozen=True)
class _Files:
    """Picture files and what they are made into.

    Attributes:
        names: Their paths below it, with ``/``.
        labels: One a file; None where they have none.
        transform: Makes a picture into what the model takes.
    """

    folder: Path
    names: Sequence[str]
    labels: Sequence[int] | None
    transform: Transform

    def read(self, index: int) -> tuple[Tensor, int | None]:
        path = self.folder / self.names[index]
        label = None if self.labels is None else self.labels[index]
        return self.transform(read_picture(path), str(path)), label


def _calibration(config: DataConfig, preprocessing: Preprocessing) -> Part:
    assert config.calibration_path is not None
    folder = _folder(config.calibration_path, "data.calibration_path")
    names = picture_names(folder)
    if not names:
        raise _empty("data.calibration_path", folder)
    return Part(names, _Files(folder, names, None, Transform.of(config, preprocessing)).read)


def _evaluation(config: DataConfig, preprocessing: Preprocessing) -> Part | None:
    if config.evaluation_path is None:
        return None
    folder = _folder(config.evaluation_path, "data.evaluation_path")
    classes = None
    if config.classes_path is not None:
        classes = class_names(existing(config.classes_path, "data.classes_path"))
    if config.labels_path is not None:
        table = existing(config.labels_path, "data.labels_path")
        numbers, count = read_table(table, folder, classes)
        found = Labels((), f"data.labels_path: {table}", count)
    else:
        numbers, found = _by_sub_folder(folder, classes, config.classes_path)
    names = sorted(numbers)
    labels = [numbers[name] for name in names]
    files = _Files(folder, names, labels, Transform.of(config, preprocessing))
    return Part(names, files.read, replace(found, values=labels))


register("image_folder", Source(_calibration, _evaluation))


def picture_names(folder: Path) -> list[str]:
    """All pictures below a folder at any depth, links followed; what begins with a dot is left out.

    Args:
        folder: Where to look.

    Returns:
        Their paths below the folder with ``/``, sorted as text: the same on every machine.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    names: list[str] = []
    for here, below, files in os.walk(folder, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        found = (name for name in files if name.lower().endswith(IMG_EXTENSIONS) and name[0] != ".")
        names += ((Path(here) / name).relative_to(folder).as_posix() for name in found)
    return sorted(names)


def _by_sub_folder(
    folder: Path, classes: Sequence[str] | None, classes_path: Path | None
) -> tuple[dict[str, int], Labels]:
    """Label pictures by the sub-folder that they are in; one without pictures keeps its number."""
    own = sub_folders(folder)
    if not own:
        raise DataError(
            f"data.evaluation_path: {folder} wants a sub-folder of images a class, or data.labels_path"
        )
    source = f"data.evaluation_path: {folder}"
    number = {name: i for i, name in enumerate(own if classes is None else classes)}
    if classes is not None:
        about = Labels((), f"data.classes_path: {classes_path}", classes=len(number))
    else:
        about = Labels((), source, classes=len(number), counted="folders")
    if classes is None and are_numbers(own):
        number = {name: number_of(name, f"{source}: folder") for name in own}
        about = Labels((), source, notes=(_as_numbers(own),) if own != sorted(own) or number[own[0]] else ())
    missing = [name for name in own if name not in number]
    if missing:
        raise DataError(
            f"data.classes_path: {classes_path} has no class {missing[0]} ({len(missing)} are missing)"
        )
    found = {f"{name}/{picture}": number[name] for name in own for picture in picture_names(folder / name)}
    if not found:
        raise _empty("data.evaluation_path", folder)
    return found, about


def _as_numbers(own: Sequence[str]) -> str:
    return (
        f"data.evaluation_path: the names of its {len(own)} folders are numbers, which are the labels "
        f"({own[0][:20]} to {own[-1][:20]}), not sorted as text; "
        "data.classes_path would number them by its order"
    )


def _folder(path: Path, key: str) -> Path:
    if not existing(path, key).is_dir():
        raise DataError(f"{key}: {path} is no folder")
    return path


def _empty(key: str, folder: Path) -> DataError:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return DataError(f"{key}: {folder} holds no image ({', '.join(IMG_EXTENSIONS)})")
