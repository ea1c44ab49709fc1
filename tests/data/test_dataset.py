from collections.abc import Callable
from typing import Any

import pytest
import tiny_data
import torch
from PIL import Image

from mrecg.config.inputs import DataConfig
from mrecg.data.images import Images
from mrecg.data.transform import Transform
from mrecg.errors import ConfigError, DataError

Load = Callable[..., Images]
SQUARES = "tiny_data.Squares"
NAMED = r"^data\.calibration_dataset: "
LABELLED = r"^data\.evaluation_dataset: "
GIVEN = r"^data\.calibration_arguments: "


@pytest.fixture
def items(images: Load) -> Load:
    """Load four of six items for calibration, and all six for evaluation."""

    def make(dataset: str = SQUARES, evaluation: str | None = SQUARES, **changes: Any) -> Images:
        base = DataConfig(
            source="dataset",
            name="mine",
            calibration_dataset=dataset,
            evaluation_dataset=evaluation,
            calibration_images=4,
        )
        return images(base, **changes)

    return make


@pytest.mark.parametrize("kind", ["picture", "array", "tensor"])
def test_pictures_and_pixels_are_preprocessed(kind: str, items: Load, preprocessing: Any) -> None:
    found = items(calibration_arguments={"kind": kind}, evaluation_arguments={"kind": kind}, resize=17)
    transform = Transform(preprocessing, 17, "")
    expected = torch.stack([transform(Image.fromarray(tiny_data.pixels(i)), "") for i in range(6)])
    chosen = [int(name) for name in found.drawn.names]
    assert torch.equal(found.calibration, expected[chosen]) and found.drawn.available == 6
    ((x, labels),) = found.batches()
    assert torch.equal(x, expected) and labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("kind", ["float", "double"])
def test_float_tensors_are_taken_as_they_are(kind: str, items: Load) -> None:
    found = items(calibration_arguments={"kind": kind}, evaluation=None)
    expected = torch.stack([tiny_data.preprocessed(int(name)) for name in found.drawn.names])
    assert torch.equal(found.calibration, expected) and found.calibration.dtype == torch.float32
    assert len(found) == 0
    wide = {"input_shape": (3, 16, 16), "mean": (0.5, 0.5), "std": (0.0,)}
    again = items(calibration_arguments={"kind": kind}, evaluation=None, wants=wide)
    assert torch.equal(again.calibration, expected)
    ((x, _),) = items(evaluation_arguments={"kind": kind}).batches()
    assert x.dtype == torch.float32 and torch.equal(x[3], tiny_data.preprocessed(3))


def test_images_alone_are_enough_for_calibration(items: Load) -> None:
    alone = items(calibration_arguments={"label": None}, evaluation=None)
    assert torch.equal(alone.calibration, items(evaluation=None).calibration)


@pytest.mark.parametrize("label", ["int", "tensor", "numpy"])
def test_labels_are_whole_numbers_of_any_kind(label: str, items: Load) -> None:
    ((_, labels),) = items(evaluation_arguments={"label": label}).batches()
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_no_items_are_nothing_to_evaluate_on(items: Load) -> None:
    found = items(evaluation_arguments={"size": 0})
    record = found.draws["evaluation"]
    assert len(found) == 0 == len(list(found.batches()))
    assert record is not None and (record.images, record.available, record.names) == (0, 0, ())


def test_a_function_can_give_the_data(items: Load) -> None:
    listed = items("tiny_data.as_list", calibration_arguments={"size": 6})
    assert listed.drawn == items().drawn


@pytest.mark.parametrize(
    ("dataset", "arguments", "error", "message"),
    [
        ("tiny_data.Circles", {}, ConfigError, NAMED + r"tiny_data\.Circles: cannot be imported"),
        ("tiny_data.NUMBER", {}, ConfigError, NAMED + r"tiny_data\.NUMBER is int; give a class"),
        (SQUARES, {"sise": 2}, ConfigError, GIVEN + r"tiny_data\.Squares refuses .*'sise'"),
        (SQUARES, {"size": -1}, ConfigError, GIVEN + r".*: size must be 0 or more$"),
        ("tiny_data.Stream", {}, DataError, NAMED + r"tiny_data\.Stream gives Stream; wants a data"),
        ("tiny_data.SizedStream", {}, DataError, NAMED + r"tiny_data\.SizedStream gives SizedStream; wants"),
        ("tiny_data.Endless", {}, DataError, NAMED + r".* gives Endless; wants a data set"),
        ("builtins.dict", {}, DataError, r"^data\.calibration_images: 4 images .* there are 0$"),
        (SQUARES, {"kind": "dict"}, DataError, NAMED + r"item 0 has an image of type dict; wants"),
        (SQUARES, {"kind": "float array"}, DataError, NAMED + r"item 0 .* type ndarray of float64; wants"),
        (SQUARES, {"kind": "integers"}, DataError, NAMED + r"item 0 .* type Tensor of torch\.int64; wants"),
        (SQUARES, {"kind": "channels last"}, DataError, NAMED + r"item 0 .* shape \(20, 18, 3\); wants a"),
        (SQUARES, {"kind": "nothing", "label": None}, DataError, NAMED + r"item 0 is empty; wants an"),
        (SQUARES, {"kind": "small"}, DataError, r"^data=mine has images of shape \(3, 8, 8\), the model"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    dataset: str, arguments: dict[str, Any], error: type[Exception], message: str, items: Load
) -> None:
    if dataset == SQUARES and "size" not in arguments and "sise" not in arguments:
        arguments = {"size": 4, **arguments}  # then the draw begins with item 0
    with pytest.raises(error, match=message) as caught:
        items(dataset, None, calibration_arguments=arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "arguments", "error", "message"),
    [
        (SQUARES, {"label": None}, DataError, LABELLED + r"item 0 is Image without a label; wants"),
        (SQUARES, {"label": "text"}, DataError, LABELLED + r"item 0 has a label of type str; wants"),
        (SQUARES, {"label": "float"}, DataError, LABELLED + r"item 0 has a label of type float; wants"),
        (SQUARES, {"label": "bool"}, DataError, LABELLED + r"item 0 has a label of type bool; wants"),
        (SQUARES, {"label": "several"}, DataError, LABELLED + r"item 0 .* Tensor of torch\.int64; wants"),
        (SQUARES, {"label": "negative"}, DataError, LABELLED + r"item 0 has the label -1; wants 0 or more"),
        (SQUARES, {"kind": "small"}, DataError, r"^data=mine has images .*\(3, 8, 8\), .* \(image 0\)$"),
        (SQUARES, {"sise": 2}, ConfigError, r"^data\.evaluation_arguments: tiny_data\.Squares refuses"),
        ("tiny_data.Stream", {}, DataError, LABELLED + r"tiny_data\.Stream gives Stream"),
        ("nowhere.Squares", {}, ConfigError, LABELLED + r"nowhere\.Squares: cannot be imported"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_evaluation_shows_at_once(
    dataset: str, arguments: dict[str, Any], error: type[Exception], message: str, items: Load
) -> None:
    with pytest.raises(error, match=message):
        items(evaluation=dataset, evaluation_arguments=arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_later_item_is_named_by_its_index(
    workers: int, items: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = items(workers=workers)
    monkeypatch.setitem(
        tiny_data.MAKE, "picture", lambda i: i if i == 4 else Image.fromarray(tiny_data.pixels(i))
    )
    with pytest.raises(DataError, match=r"^data\.evaluation_dataset: item 4 has an image of type int; wants"):
        list(found.batches())
