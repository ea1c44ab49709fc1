"""The order of the stages: what is wrong with the evaluation shows before anything is spent on the rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_net
import torch
from PIL import Image
from torch import nn

import mrecg
from mrecg.config.schema import RunConfig
from mrecg.data import kept_batches
from mrecg.errors import CheckpointError, DataError
from mrecg.pipeline import evaluate
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.accuracy import accuracy
from mrecg.track.terminal import Quiet

Configure = Callable[..., RunConfig]


class Said(Quiet):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the work begins."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(pipeline, "calibrate", refuse)


def model() -> nn.Module:
    torch.manual_seed(0)
    return tiny_net.build(classes=3).eval()


def given(label: Any = 2, **bad: float) -> dict[str, Any]:
    """Images in Python, the last label and some pixels as asked for."""
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2, 0, 1, label])
    shown = x.clone()
    if "evaluation" in bad:
        shown[4, 1, 2, 3] = bad["evaluation"]
    if "calibration" in bad:
        x = x.clone()
        x[3, 1, 2, 3] = x[5, 0, 0, 0] = bad["calibration"]
    evaluation: Any = torch.utils.data.TensorDataset(shown, y)
    return {
        "calibration_images": x,
        "evaluation": evaluation,
        "method": "rtn",
        "granularity": "block",
        "progress": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given(3), "an image has label 3, the model 3 outputs"),
        (given(-1), "an image has label -1, the model 3 outputs"),
        (given(evaluation=float("nan")), r"1 of 6 images hold NaN or infinite values, the first is image 4"),
        (given(evaluation=float("inf")), r"1 of 6 images hold NaN or infinite values, the first is image 4"),
        (
            given(calibration=float("nan")),
            r"^calibration_images: 2 of 6 images hold NaN .* is image 3; leave",
        ),
        (
            given(calibration=-float("inf")),
            r"^calibration_images: 2 of 6 images hold NaN .* is image 3; leave",
        ),
    ],
)
def test_bad_images_and_labels_end_before_the_work(
    arguments: dict[str, Any], message: str, no_work: None
) -> None:
    with pytest.raises(DataError, match=message):
        mrecg.quantize(model(), **arguments)


@pytest.mark.parametrize("kind", ["variance", "overflow", "folded"])
def test_weights_that_overflow_end_before_the_work(kind: str, no_work: None) -> None:
    net = model()
    norm = next(part for part in net.modules() if isinstance(part, nn.BatchNorm2d))
    assert norm.running_var is not None
    with torch.no_grad():
        if kind == "variance":
            norm.running_var.neg_()
        elif kind == "overflow":
            next(net.parameters()).fill_(3e38)
        else:
            next(net.parameters()).fill_(1e38)
            norm.weight.fill_(1e10)
    with pytest.raises(CheckpointError, match=r"below 0, and it is a variance|NaN or infinite") as error:
        mrecg.quantize(net, **given())
    assert "\n" not in str(error.value)


def test_the_full_precision_accuracy_is_the_same_and_said_first(
    tiny_config: Configure, tmp_path: Path
) -> None:
    said = Said()
    config = tiny_config(method={"name": "rtn"}, granularity={"name": "block"})
    result = pipeline.run(config, tmp_path / "run", display=said)
    built = pipeline.build(config.model, seed=config.seed)
    images = pipeline.read(config, built.preprocessing)
    own = accuracy(built.model, images.batches(), device=torch.device("cpu"))
    assert result.summary["fp"] == {"top1": own.top1, "top5": own.top5}
    assert f"full precision: top-1 {100 * own.top1:.2f} %, top-5 {100 * own.top5:.2f} %" in said.notes
    assert result.decisions is not None and torch.equal(result.decisions[:, 1], own.decisions)


def test_without_evaluation_images_nothing_is_measured(tiny_config: Configure, tmp_path: Path) -> None:
    values = {"evaluation_path": None, "classes_path": None, "calibration_images": "all"}
    config = tiny_config(method={"name": "rtn"}, granularity={"name": "block"}, data=values)
    result = pipeline.run(config, tmp_path / "run")
    assert result.summary["fp"] is None and "evaluate" in result.summary["timing_s"]
    assert result.summary["calibration_images"] == 18 and result.summary["notes"] == []


def test_how_labels_were_numbered_is_said_and_kept(tiny_config: Configure, tmp_path: Path) -> None:
    for name in ("0", "2", "10"):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "val" / name / "a.png")
    config = tiny_config(
        model={"arguments": {"classes": 12}},
        data={"evaluation_path": str(tmp_path / "val"), "classes_path": None},
        method={"name": "rtn"},
        granularity={"name": "block"},
    )
    said = Said()
    result = pipeline.run(config, tmp_path / "run", display=said)
    (note,) = result.summary["notes"]
    assert (
        note in said.notes
        and "the names of its 3 folders are numbers, which are the labels (0 to 10)" in note
    )
    few = replace(config, model=replace(config.model, arguments={"classes": 3}))
    with pytest.raises(DataError, match=r"^data\.evaluation_path: .*val: an image has label 10, the model 3"):
        pipeline.run(few, tmp_path / "other")
    with pytest.raises(DataError, match=r"an image has label 10, the model 3 outputs"):
        evaluate.evaluate(few)


def test_evaluating_needs_no_calibration_images(tiny_config: Configure) -> None:
    config = tiny_config(data={"calibration_path": None})
    what, found = evaluate.evaluate(config)
    assert what == "tiny (FP)" and found.images == 12


class Counting(torch.utils.data.Dataset[Any]):
    """Counts how often an image is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(index)), index % 3


def test_evaluation_images_are_read_once_for_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for share, reads in ((kept_batches.SHARE, 6), (0.0, 12)):
        monkeypatch.setattr(kept_batches, "SHARE", share)
        images = Counting()
        result = mrecg.quantize(model(), **{**given(), "evaluation": images})
        assert images.reads == reads + 1  # the first one is looked at before all else
        found.append((result.summary["fp"], result.summary["quantized"], result.decisions.tolist()))
    assert found[0] == found[1]
