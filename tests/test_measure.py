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
