import hashlib
import pickle
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from mrecg.config.inputs import DataConfig
from mrecg.data.images import Images
from mrecg.errors import ConfigError, DataError

Load = Callable[..., Images]
READERS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


@pytest.fixture(params=["cifar10", "cifar100"])
def source(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def root(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of one of them with 4 images each, in their authors' format; torchvision knows their sums."""
    reader, draw = READERS[source], np.random.default_rng(0)
    folder = tmp_path / "cifar" / reader.base_folder
    folder.mkdir(parents=True)

    def written(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    key = "labels" if source == "cifar10" else "fine_labels"
    for part in ("train_list", "test_list"):
        sums = [
            written(
                name,
                {
                    "data": draw.integers(0, 256, (4, 3072), dtype=np.uint8),
                    key: draw.integers(0, 10, 4).tolist(),
                },
            )
            for name, _ in getattr(reader, part)
        ]
        monkeypatch.setattr(reader, part, sums)
    name, md5 = written(reader.meta["filename"], {reader.meta["key"]: [f"class {i}" for i in range(10)]})
    monkeypatch.setattr(reader, "meta", {**reader.meta, "filename": name, "md5": md5})
    return tmp_path / "cifar"


@pytest.fixture
def cifar(images: Load, source: str, root: Path) -> Load:
    def make(**changes: Any) -> Images:
        base = DataConfig(source=source, name=source, calibration_path=root, calibration_images=3)  # type: ignore[arg-type]
        wants = {"input_shape": (3, 32, 32), "mean": MEAN, "std": STD, **changes.pop("wants", {})}
        return images(base, wants=wants, **changes)

    return make


def stored(root: Path, source: str, part: str) -> tuple[torch.Tensor, list[int]]:
    """Normalised pixels and labels, straight from the pickles."""
    reader = READERS[source]
    files = [
        pickle.loads((root / reader.base_folder / name).read_bytes()) for name, _ in getattr(reader, part)
    ]
    pixels = torch.from_numpy(np.concatenate([file["data"] for file in files])).view(-1, 3, 32, 32) / 255
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    labels = [label for file in files for label in file.get("labels", file.get("fine_labels"))]
    return (pixels - mean) / std, labels


def test_calibration_is_drawn_from_the_train_part_and_evaluation_is_the_test_part(
    cifar: Load, root: Path, source: str
) -> None:
    found = cifar()
    pixels, _ = stored(root, source, "train_list")
    assert found.drawn.available == len(pixels) == {"cifar10": 20, "cifar100": 4}[source]
    torch.testing.assert_close(found.calibration, pixels[[int(name) for name in found.drawn.names]])
    pixels, labels = stored(root, source, "test_list")
    ((x, y),) = found.batches()
    assert len(found) == 4 and y.tolist() == labels
    torch.testing.assert_close(x, pixels)
    assert cifar().draws == found.draws and cifar(workers=2).draws == found.draws
    record = found.draws["evaluation"]
    assert record is not None and record.names == ("0", "1", "2", "3") and record.seed is None


def test_pictures_can_be_resized(cifar: Load) -> None:
    larger = cifar(resize=40, wants={"input_shape": (3, 36, 36)})
    assert larger.calibration.shape == (3, 3, 36, 36)
    with pytest.raises(DataError, match=r"^data=cifar100? item 0: is 32 x 32 pixels .* 36 x 36"):
        cifar(wants={"input_shape": (3, 36, 36)})


def test_files_that_are_not_there_can_be_downloaded(cifar: Load, root: Path, source: str) -> None:
    reader = READERS[source]
    for damage in ("missing", "damaged"):
        file = root / reader.base_folder / reader.test_list[0][0]
        file.unlink() if damage == "missing" else file.write_bytes(b"no pickle")
        with pytest.raises(
            DataError, match=rf"data\.calibration_path: .*cifar has no complete {reader.base_folder}; "
        ) as caught:
            cifar()
    command = str(caught.value).split("; ", 1)[1].removesuffix(" downloads it")
    python, flag, code = shlex.split(command)
    assert (python, flag) == ("python", "-c")
    calls: list[Any] = []
    monkey: dict[str, Any] = {"__builtins__": {"__import__": lambda *a: _Fake(calls)}}
    exec(code, monkey)
    assert calls == [(str(root), {"download": True})]
    shutil.rmtree(root / reader.base_folder)
    with pytest.raises(DataError, match="has no complete"):
        cifar()
    with pytest.raises(ConfigError, match=r"^data\.calibration_path: no/where does not exist"):
        cifar(calibration_path=Path("no/where"))


class _Fake:
    """Stands for torchvision.datasets in the command that a message gives."""

    def __init__(self, calls: list[Any]) -> None:
        self.CIFAR10 = self.CIFAR100 = lambda root, **more: calls.append((root, more))


def test_another_evaluation_folder_is_refused(cifar: Load, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data\.evaluation_path: .* is not read with data\.source=cifar"):
        cifar(evaluation_path=root)
