from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mrecg.errors import DataError
from mrecg.measure import Accuracy, accuracy, oscillation_index

CPU = torch.device("cpu")
CURVES = st.lists(st.floats(-1e3, 1e3), max_size=12)
LEVELS = st.lists(st.integers(-9, 9).map(float), max_size=8)


@pytest.mark.parametrize("classes", [2, 4, 5, 17])
def test_accuracy_counts_like_a_loop(classes: int) -> None:
    logits, labels = torch.randn(23, classes), torch.randint(classes, (23,))
    images = torch.arange(23.0).reshape(23, 1, 1, 1)
    seen: list[int] = []

    class Table(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return logits[x.flatten().long()]

    batches = [(images[i : i + 6], labels[i : i + 6]) for i in range(0, 23, 6)]
    found = accuracy(Table(), batches, device=CPU, progress=seen.append)
    ranks = [
        sorted(range(classes), key=lambda c: -float(row[c])).index(int(y))
        for row, y in zip(logits, labels, strict=True)
    ]
    assert found == Accuracy(sum(r < 1 for r in ranks) / 23, sum(r < 5 for r in ranks) / 23, 23)
    assert torch.equal(found.labels, labels) and torch.equal(found.decisions, logits.argmax(1))
    assert seen == [6, 6, 6, 5]
    assert classes > 5 or found.top5 == 1.0


def test_no_image_is_no_accuracy() -> None:
    assert accuracy(nn.Identity(), [], device=CPU) == Accuracy(0.0, 0.0, 0)


@given(LEVELS)
def test_the_index_is_zero_exactly_for_monotone_curves(curve: list[float]) -> None:
    monotone = curve in (sorted(curve), sorted(curve, reverse=True))
    assert (oscillation_index(curve) == 0) == monotone


@given(CURVES)
def test_the_index_is_the_way_that_was_lost(curve: list[float]) -> None:
    ups = sum(max(b - a, 0.0) for a, b in pairwise(curve))
    downs = sum(max(a - b, 0.0) for a, b in pairwise(curve))
    assert oscillation_index(curve) == pytest.approx(2 * min(ups, downs), abs=1e-6)
    assert oscillation_index(curve[::-1]) == pytest.approx(oscillation_index(curve), abs=1e-6)
    assert oscillation_index([7 - 2 * e for e in curve]) == pytest.approx(
        2 * oscillation_index(curve), abs=1e-6
    )


def test_a_label_that_the_model_does_not_have_is_an_error() -> None:
    batches = [(torch.zeros(2, 3, 1, 1), torch.tensor([0, 3]))]
    with pytest.raises(DataError, match=r"label 3, the model 3 outputs; see data\.classes_path"):
        accuracy(nn.Flatten(), batches, device=CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_are_named_by_their_place(value: float) -> None:
    bad = torch.zeros(2, 3, 1, 1)
    bad[1, 0] = value
    batches = [(torch.zeros(2, 3, 1, 1), torch.tensor([0, 1])), (bad, torch.tensor([0, 1]))]
    with pytest.raises(
        DataError, match=r"1 of the images 2 to 3 hold NaN or infinite .* first is image 3; leave"
    ):
        accuracy(nn.Flatten(), batches, device=torch.device("cpu"))


def test_a_negative_label_and_no_logits_are_errors() -> None:
    x = torch.zeros(2, 3, 1, 1)
    with pytest.raises(DataError, match="label -1, the model 3 outputs"):
        accuracy(nn.Flatten(), [(x, torch.tensor([0, -1]))], device=torch.device("cpu"))
    with pytest.raises(DataError, match=r"the model gives \(2, 3, 1, 1\), and accuracy is counted on logits"):
        accuracy(nn.Identity(), [(x, torch.tensor([0, 1]))], device=torch.device("cpu"))
