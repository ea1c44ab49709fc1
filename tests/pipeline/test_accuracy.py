import pytest
import torch
from torch import Tensor, nn

from mrecg.errors import DataError
from mrecg.pipeline.accuracy import Accuracy, accuracy, borrowed

CPU = torch.device("cpu")


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


def test_a_borrowed_model_comes_back_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), nn.BatchNorm2d(2)).train()
    model[2].eval()
    places = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    with pytest.raises(KeyError), borrowed(model, torch.device("meta")):
        assert not any(part.training for part in model.modules())
        assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
        raise KeyError
    assert [part.training for part in model.modules()] == [True, True, True, False]
    assert [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())] == places


def test_a_models_own_buffers_stay_where_nothing_moves() -> None:
    model = nn.BatchNorm2d(2).train()
    before = model.num_batches_tracked
    with borrowed(model, CPU):
        model(torch.ones(1, 2, 1, 1))
    assert model.training and model.num_batches_tracked is before


def test_images_that_the_model_does_not_take_are_one_line() -> None:
    batches = [(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))]
    said = r"evaluation: the model does not take images of shape \(1, 8, 8\): .*expected input"
    with pytest.raises(DataError, match=said) as found:
        accuracy(nn.Conv2d(3, 4, 3), batches, device=CPU)
    assert "\n" not in str(found.value)
