from collections.abc import Callable
from typing import Any

import pytest
import tiny_data
import torch
from PIL import Image

from mrecg.config.inputs import DataConfig
from mrecg.data.images import Images, load
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
        ("builtins.dict", {}, DataError, r"^data=mine: has no images to calibrate with$"),
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_images_that_are_not_finite_are_counted_and_named(
    value: float, items: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(index: int) -> torch.Tensor:
        image = tiny_data.preprocessed(index)
        if index in (2, 5):
            image[1, 3, 3] = value
        return image

    monkeypatch.setitem(tiny_data.MAKE, "float", make)
    given = {"calibration_arguments": {"kind": "float"}, "calibration_images": 6}
    with pytest.raises(
        DataError, match=r"^data=mine: 2 of 6 images hold NaN or infinite .* image 2 \(2\); leave"
    ):
        items(evaluation=None, **given)
    found = items(evaluation_arguments={"kind": "float"})
    with pytest.raises(
        DataError, match=r"^data=mine: evaluation image 2 holds NaN or infinite values; leave it"
    ):
        list(found.batches())


def test_all_images_can_be_asked_for(items: Load) -> None:
    found = items(calibration_images="all")
    assert found.calibration.shape[0] == 6 and found.drawn.available == 6 and found.drawn.seed is None
    with pytest.raises(
        DataError, match=r"_images: 512 images .* are 6; set data\.calibration_images=6, or all"
    ):
        items(calibration_images=512)


@pytest.mark.parametrize("error", [KeyError("x"), OSError(5, "gone"), ZeroDivisionError()])
def test_a_data_set_that_fails_is_named_with_its_item(
    error: Exception, items: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(index: int) -> None:
        raise error

    monkeypatch.setitem(tiny_data.MAKE, "picture", fail)
    with pytest.raises(DataError, match=rf"item \d cannot be read: {type(error).__name__}: "):
        items(evaluation=None)


@pytest.mark.parametrize("label", [2**31, 2**63, 10**5000, -(10**5000)], ids=["31", "63", "huge", "low"])
def test_a_label_of_absurd_size_is_one_line(label: int, items: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_data.Squares, "__getitem__", lambda self, i: (tiny_data.preprocessed(i), label))
    with pytest.raises(DataError, match=r"item 0 has the label ") as error:
        items()
    assert len(str(error.value)) < 200


def test_evaluation_needs_no_calibration_set(preprocessing: Any) -> None:
    config = DataConfig(source="dataset", evaluation_dataset=SQUARES)
    assert len(load(config, preprocessing=preprocessing, calibration=False)) == 6
    with pytest.raises(ConfigError, match=r"^data\.calibration_dataset: needs package\.module\.name"):
        load(config, preprocessing=preprocessing)
    folders = DataConfig(source="image_folder")
    with pytest.raises(ConfigError, match=r"^data\.calibration_path: needs a folder"):
        load(folders, preprocessing=preprocessing)
