"""Graphs with several outputs: where units end, what passes between them, and what is refused."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from several_outputs import FORMS, Branches, block, branches, images
from torch import Tensor, nn

from mrecg.config.schema import BitsConfig
from mrecg.errors import GraphError
from mrecg.graph.cut import Cut, cut
from mrecg.graph.structure import joined, structure_of, tensors_of
from mrecg.quant.quantized_network import QuantizedNetwork

SHAPE = (3, 16, 16)


def network_of(found: Cut) -> QuantizedNetwork:
    return QuantizedNetwork(found.graph, found.units, BitsConfig(weight=4, activation=8))


def chain(network: QuantizedNetwork, x: Tensor) -> Tensor:
    for unit in network.full:
        x = unit(x)
    return x


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_gives_what_the_model_gives_in_the_same_structure(form: str) -> None:
    model, x = branches(form), images(5)
    network = network_of(cut(model, input_shape=SHAPE))
    for whole in (network.reference(), network.model):
        found, expected = whole(x), model(x)
        assert type(found) is type(expected)
        assert structure_of(found)[0].names == structure_of(expected)[0].names
    for mine, wanted in zip(tensors_of(network.reference()(x)), tensors_of(model(x)), strict=True):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize(
    ("form", "ends"),
    [
        ("dict", ["stem-a", "aux.0-1", "b-head"]),
        ("heads", ["stem-b", "c", "head", "other"]),
        ("pyramid", ["stem-a", "b", "c"]),
        ("named", ["stem-a", "b-c", "head"]),
    ],
)
def test_a_unit_ends_at_each_output(form: str, ends: list[str]) -> None:
    assert [unit.name for unit in cut(branches(form), input_shape=SHAPE).units] == ends


def test_the_losses_of_a_unit_with_several_outputs_add_up() -> None:
    """The auxiliary branch leaves with the trunk: the squared error is that of both, each per position."""
    network, x = network_of(cut(branches("dict"), input_shape=SHAPE)), images(4)
    stem, aux, _ = network.full
    trunk = stem(x)
    before = aux(trunk)
    with torch.no_grad():
        aux.get_submodule("aux.1").bias += 0.5
    # Of both outputs of the branch, 64 positions each: a mean over them, as in a unit of its own.
    assert float((aux(trunk) - before).square().sum(1).mean()) == pytest.approx(2 * 0.25)


def test_what_goes_on_passes_exactly() -> None:
    model, x = branches("dict"), images(4)
    network = network_of(cut(model, input_shape=SHAPE))
    torch.testing.assert_close(chain(network, x), model(x)["out"])


def test_any_image_size_passes_through_the_whole_network() -> None:
    model = branches("dict")
    network = network_of(cut(model, input_shape=SHAPE))
    x = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(network.reference()(x)["aux"], model(x)["aux"])


def test_two_score_outputs_are_not_taken_for_one_set_of_scores() -> None:
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.last = block(3, 4), nn.Linear(4, 6)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.last(self.stem(x).mean((2, 3)))
            return y, y.sigmoid()

    last = chain(network_of(cut(Ends().eval(), input_shape=SHAPE)), images(2))
    assert last.shape == (2, 12, 1)
    assert joined({"a": torch.ones(2, 3), "n": torch.ones(2).long()}, 2).shape == (2, 3, 1)


def test_a_layer_that_is_read_on_is_no_last_layer() -> None:
    policy = network_of(cut(branches("pyramid"), input_shape=SHAPE)).policy
    assert policy.layers == {"stem.0": 8, "a.0": 4, "b.0": 4, "c.0": 8}


@pytest.mark.parametrize(("chosen", "place"), [("out", 0), ("aux", 1), (0, 0), (-1, 1), ("1", 1)])
def test_one_output_is_chosen(chosen: str | int, place: int) -> None:
    model, x = branches("dict"), images(3)
    network = network_of(cut(model, input_shape=SHAPE, output=chosen))
    assert isinstance(network.model(x), Tensor)
    torch.testing.assert_close(network.reference()(x), tensors_of(model(x))[place])
    assert ("head" in network.policy.layers) == (place == 0)


@pytest.mark.parametrize("chosen", ["features.1.deep", "features.1"])
def test_a_nested_output_is_chosen_by_dots(chosen: str) -> None:
    found = cut(branches("named"), input_shape=SHAPE, output=chosen)
    assert [unit.name for unit in found.units] == ["stem-b", "c"]


@pytest.mark.parametrize(
    ("form", "chosen", "said"),
    [
        ("dict", "logits", "model.output: 'logits' is not one output of Branches; choose from out, aux"),
        ("dict", 2, "model.output: '2' is not one output of Branches; choose from out, aux"),
        ("named", "features", "choose from features.0, features.1.deep"),
    ],
)
def test_what_is_no_output_is_refused_with_the_names(form: str, chosen: str | int, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        cut(branches(form), input_shape=SHAPE, output=chosen)


def test_an_output_of_a_network_with_one_is_refused() -> None:
    with pytest.raises(GraphError, match="Branches returns one tensor, not 'out'; leave the key out"):
        cut(Branches(lambda **v: v["logits"]).eval(), input_shape=SHAPE, output="out")


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda **v: (v["logits"], v["x"].shape[-1]), "Branches returns 1, which depends on the images"),
        (lambda **v: (v["logits"], v["logits"].mean()), r"its output 1 has shape \(\) for 3 images"),
        (lambda **v: SimpleNamespace(y=v["logits"]), "the model returns SimpleNamespace; tensors in dicts"),
        (lambda **v: v["logits"].argmax(1), "Branches returns int64, no real numbers; return the scores"),
        (lambda **v: {"n": 3}, "the model returns dict without a tensor"),
    ],
)
def test_what_cannot_be_followed_is_refused(give: Callable[..., Any], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        cut(Branches(give).eval(), input_shape=SHAPE)


def test_without_the_shape_of_an_image_the_line_says_what_to_do() -> None:
    with pytest.raises(GraphError, match=r"several outputs \(out, aux\).*set model.input_shape"):
        cut(branches("dict"))
    assert len(cut(branches("pyramid")).units) == 3  # each border has one tensor: no size is needed


def test_torch_exports_graph_has_the_outputs_too() -> None:
    class Branching(Branches):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) if x.shape[2] < 100 else None

    torch.manual_seed(0)
    model, x = Branching(FORMS["classed"]).eval(), images(3)
    found = cut(model, input_shape=SHAPE)
    assert found.route == "torch.export"
    torch.testing.assert_close(network_of(found).reference()(x).aux, model(x).aux)


def test_scores_behind_class_indices_end_a_unit() -> None:
    """Nothing is learned from indices, but the layers before them are part of the network."""
    found = cut(branches("indices"), input_shape=SHAPE)
    network, x = network_of(found), images(3)
    assert {layer for unit in found.units for layer in unit.layers} == set(network.policy.layers)
    assert chain(network, x).is_floating_point()


@pytest.mark.slow
def test_a_segmentation_network_of_torchvision() -> None:
    torch.manual_seed(0)
    make = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large
    model = make(weights=None, weights_backbone=None, num_classes=5, aux_loss=True).eval()
    x = torch.randn(2, 3, 64, 64)
    found = cut(model, input_shape=(3, 64, 64))
    names = [unit.name for unit in found.units]
    assert names.index("aux_classifier.0-4") < names.index("classifier.0")
    network = network_of(found)
    assert list(network.model(x)) == ["out", "aux"]
    for name, value in network.reference()(x).items():
        torch.testing.assert_close(value, model(x)[name], rtol=1e-4, atol=1e-5)
