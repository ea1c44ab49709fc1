import pytest
import torch
from torch import Tensor

from mrecg.errors import CheckpointError, ConfigError
from mrecg.models import match_tensors

Shapes = dict[str, tuple[int, ...]]
OWN: Shapes = {"conv.weight": (4, 3, 1, 1), "bn.weight": (4,), "bn.bias": (4,), "fc.weight": (9, 4),
               "fc.bias": (9,)}  # fmt: skip


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def other(**changed: tuple[int, ...]) -> Shapes:
    """The model's shapes; a__b in a changed one's name is a.b."""
    return {**OWN, **{name.replace("__", "."): shape for name, shape in changed.items()}}


def under_other_names(shapes: Shapes) -> Shapes:
    return {
        f"x{place}.{name.rpartition('.')[2]}": shape for place, (name, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize(
    ("names", "rename", "expected"),
    [
        (("a.b", "c"), {}, ["a.b", "c"]),
        (("backbone.a", "backbone.b"), {"^backbone\\.": ""}, ["a", "b"]),
        (("layer1.0.a", "layer2.0.a"), {r"layer(\d)\.": r"stage\1/"}, ["stage1/0.a", "stage2/0.a"]),
        (("a", "b"), {"^a$": "c", "^c$": "d"}, ["d", "b"]),
        (("a", "b"), {"^a$": "t", "^b$": "a", "^t$": "b"}, ["b", "a"]),
        (("a.a.b",), {"a": "x"}, ["x.x.b"]),
    ],
)
def test_names_are_changed_one_pattern_after_the_other(
    names: tuple[str, ...], rename: dict[str, str], expected: list[str]
) -> None:
    assert list(match_tensors.renamed(names, rename).items()) == list(zip(expected, names, strict=True))


@pytest.mark.parametrize(
    ("rename", "error", "message"),
    [
        ({"z": "y"}, CheckpointError, r"^model\.rename: 'z' is in no name of the file \(first a\.w\)$"),
        ({"a": "b", "a\\.": ""}, CheckpointError,
         r"^model\.rename: 'a\\\\\.' is in no name of the file \(first b\.w\)$"),
        ({"^a": "b"}, CheckpointError, r"^model\.rename: a\.w and b\.w both become b\.w$"),
        ({"(": "b"}, ConfigError, r"^model\.rename: '\(': 'b' is not a regular expression: .*position 0"),
        ({"a": r"\2"}, ConfigError, r"^model\.rename: 'a': .* is not a regular expression: invalid group"),
        ({"a": r"\g<x>"}, ConfigError, r"^model\.rename: 'a': .* is not a regular expression: unknown group"),
    ],
)  # fmt: skip
def test_a_change_of_names_that_cannot_be_right_is_an_error(
    rename: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        match_tensors.renamed(("a.w", "b.w"), rename)


def test_tensors_are_paired_by_name_in_the_models_order() -> None:
    file = dict(reversed(tensors(OWN).items()))
    same = tuple((name, name) for name in OWN)
    assert match_tensors.by_name(file, tensors(OWN), "a.pth", ordered=True) == same


def test_tensors_are_paired_by_order() -> None:
    file = tensors(under_other_names(OWN))
    assert match_tensors.by_order(file, tensors(OWN), "a.pth") == tuple(zip(file, OWN, strict=True))


LAST = (
    "; its last layer has 7 outputs, the model's 9: "
    "build it with 7, for example by 'model.arguments={num_classes: 7}'"
)
FEWER = other(fc__weight=(7, 4), fc__bias=(7,))


@pytest.mark.parametrize(
    ("file", "ordered", "message"),
    [
        (under_other_names(OWN), True,
         "5 missing (first bn.bias); 5 not the model's (first x0.weight); "
         "the file's 5 tensors fit in order: set model.checkpoint_match=order"),
        (under_other_names(OWN), False, "5 missing (first bn.bias); 5 not the model's (first x0.weight)"),
        (under_other_names(FEWER), True, "5 missing (first bn.bias); 5 not the model's (first x0.weight)"),
        (FEWER, True, f"2 of another shape (first fc.weight){LAST}"),
        (other(fc__weight=(9, 5)), True, "1 of another shape (first fc.weight)"),
        (other(fc__weight=(7, 4, 1, 1), fc__bias=(7,)), True, "2 of another shape (first fc.weight)"),
        (other(fc__bias=(7,)), True, "1 of another shape (first fc.bias)"),
        (other(fc__weight=()), True, "1 of another shape (first fc.weight)"),
        (other(fc__weight=(7, 4), bn__bias=(3,)), True, "2 of another shape (first bn.bias)"),
        (other(z__weight=(1,), y__weight=(1,)), True, "2 not the model's (first y.weight)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_by_name_is_counted(file: Shapes, ordered: bool, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        match_tensors.by_name(tensors(file), tensors(OWN), "a.pth", ordered=ordered)
    assert str(error.value) == f"model.checkpoint: a.pth does not fit the model: {message}"


SHORT = dict(list(under_other_names(OWN).items())[:-1])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"a.weight": (4, 3, 3, 3), **dict(list(OWN.items())[1:])},
         "first difference: a.weight of shape (4, 3, 3, 3) meets conv.weight of shape (4, 3, 1, 1)"),
        ({"c.weight": (4, 3, 1, 1), "b.bias": (4,), "b.weight": (4,), "f.weight": (9, 4), "f.bias": (9,)},
         "first difference: b.bias of shape (4,) meets bn.weight of shape (4,)"),
        (SHORT, "4 tensors, the model has 5; first without a partner: fc.bias"),
        ({**under_other_names(OWN), "y.weight": (1,)},
         "6 tensors, the model has 5; first without a partner: y.weight"),
        ({"y.weight": (1,), **under_other_names(OWN)},
         "6 tensors, the model has 5; "
         "first difference: y.weight of shape (1,) meets conv.weight of shape (4, 3, 1, 1)"),
        (under_other_names(FEWER),
         f"first difference: x3.weight of shape (7, 4) meets fc.weight of shape (9, 4){LAST}"),
        (under_other_names(other(fc__weight=(9, 5))),
         "first difference: x3.weight of shape (9, 5) meets fc.weight of shape (9, 4)"),
    ],
)  # fmt: skip
def test_the_first_difference_in_order_is_named(file: Shapes, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        match_tensors.by_order(tensors(file), tensors(OWN), "a.pth")
    assert str(error.value) == f"model.checkpoint: a.pth does not fit the model in order: {message}"
