import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mrecg.data import digits
from mrecg.models import embedded


def test_it_is_a_whole_mobilenet_v2() -> None:
    model = embedded.build()
    blocks = [part for part in model.modules() if type(part).__name__ == "InvertedResidual"]
    assert len(blocks) == 17
    assert sum(bool(block.use_res_connect) for block in blocks) == 11
    shape, sizes = torch.zeros(1, 3, 32, 32), []
    features = model.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    with torch.no_grad():
        for part in features.eval():
            shape = part(shape)
            sizes.append(shape.shape[-1])
    assert sizes == [32, 32, 32, 32, 16, 16, 16, 8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4]
    assert shape.shape[1] == 1280


def test_the_shipped_weights_are_small_and_safe() -> None:
    assert embedded.WEIGHTS.stat().st_size <= 2 * 2**20
    stored = load_file(embedded.WEIGHTS)
    assert stored.keys() == embedded.build().state_dict().keys()
    assert all(torch.isfinite(value.float()).all() for value in stored.values())


@pytest.mark.slow
def test_the_model_card_is_true() -> None:
    card = json.loads(embedded.CARD.read_text())
    model = embedded.load()
    assert not model.training
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    images, labels = digits.split("test")
    assert card["test_images"] == len(labels)
    # Another processor's rounding may move a digit that stands on the fence.
    assert embedded.accuracy(model, images, labels) == pytest.approx(card["test_top1"], abs=0.0015)


def test_accuracy_counts_hits() -> None:
    logits = torch.eye(3).repeat(200, 1)
    labels = torch.arange(3).repeat(200)
    assert embedded.accuracy(nn.Identity(), logits, labels) == 1
    assert embedded.accuracy(nn.Identity(), logits, (labels + (torch.arange(600) < 150)) % 3) == 0.75


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {part: tuple(value[:8] for value in digits.split(part)) for part in ("train", "test")}
    monkeypatch.setattr(digits, "split", parts.__getitem__)


def test_training_is_deterministic(few_digits: None) -> None:
    (first, top1), (again, top1_again) = (embedded.train(epochs=1, seed=3, batch=4) for _ in range(2))
    assert top1 == top1_again and not first.training
    for value, expected in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(value, expected)
    other, _ = embedded.train(epochs=1, seed=4, batch=4)
    assert not torch.equal(next(other.parameters()), next(first.parameters()))


def test_augmented_digits_stay_on_their_background() -> None:
    images = digits.split("test")[0][:16]
    moved = embedded._augment(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and not torch.allclose(moved, images)
    assert moved.min() >= images.min() - 1e-4 and moved.max() <= images.max() + 1e-4
    assert (moved[:, :, 0, 0] - images.min()).abs().max() < 1e-4


def test_the_command_writes_weights_and_card(
    few_digits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train = embedded.train
    monkeypatch.setattr(embedded, "train", lambda *, epochs, seed: train(epochs=epochs, seed=seed, batch=4))
    monkeypatch.setattr(
        "sys.argv", ["embedded", "--epochs", "1", "--out", str(tmp_path / "new" / "w.safetensors")]
    )
    with caplog.at_level(logging.INFO):
        embedded.main()
    card = json.loads((tmp_path / "new" / "w.json").read_text())
    assert card["command"].endswith("--epochs 1 --seed 0") and "top-1" in caplog.text
    embedded.build().load_state_dict(load_file(tmp_path / "new" / "w.safetensors"))
