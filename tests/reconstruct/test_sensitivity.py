"""Units and layers quantized alone, against a network in which nothing else is quantized."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import several_outputs
import torch
from several_outputs import branches
from torch import Tensor, nn

import mrecg
from mrecg.errors import ConfigError
from mrecg.graph.structure import tensors_of
from mrecg.reconstruct.held_out import divided, output_difference, output_squares
from mrecg.runs.sensitivity import Sensitivity

QUICK: dict[str, Any] = {"progress": False, "calibration": {"candidates": 4, "bins": 64}}


@pytest.fixture(scope="module")
def found(network: nn.Module, images: Tensor) -> Sensitivity:
    return mrecg.sensitivity(network, images, **QUICK)


def test_every_unit_and_layer_has_a_row_for_weights_and_activations(found: Sensitivity) -> None:
    assert found.images == 4
    assert [row.name for row in found.of("unit", "weights")] == ["stem", "first", "second", "third", "head"]
    layers = [row.name for row in found.of("layer", "weights")]
    assert layers == [
        "stem.0", "first.conv1", "first.conv2", "second.conv1", "second.conv2", "second.down",
        "third.expand", "third.depthwise", "third.project", "head",
    ]  # fmt: skip
    assert [row.name for row in found.of("layer", "activations")] == layers[1:]  # the image has all its bits
    assert {row.bits for row in found.of("layer", "weights") if row.name in ("stem.0", "head")} == {8}
    assert all(
        row.kl >= 0 and (row.error is None) == (row.unit == "head") for row in found.of("layer", "weights")
    )
    assert found.of("unit", "weights")[1].parameters == 2 * 4 * 4 * 9
    harms = [row.kl for row in found.worst("layer")]
    assert harms == sorted(harms, reverse=True)


@pytest.mark.parametrize("layer", ["first.conv2", "third.depthwise", "head"])
def test_a_layer_alone_does_what_a_network_with_only_that_layer_quantized_does(
    found: Sensitivity, network: nn.Module, images: Tensor, layer: str
) -> None:
    bits = {"layers": {"*": 32, layer: 8 if layer == "head" else 2}, "activation": 32, "boundary": None}
    alone = mrecg.quantize(
        network,
        images,
        method="rtn",
        granularity="block",
        steps=1,
        bits=bits,
        trainer={"batch_size": 4},
        **QUICK,
    )
    held = images[divided(16, 0.25, 0)[1]]
    with torch.no_grad():
        expected = output_difference(alone.model(held), network(held))
    (row,) = [row for row in found.of("layer", "weights") if row.name == layer]
    assert row.kl == pytest.approx(expected, rel=1e-3, abs=1e-9) and expected > 0


def test_images_that_are_measured_on_decide_no_range(network: nn.Module, images: Tensor) -> None:
    learned, held = divided(16, 0.25, 0)
    changed = images.clone()
    changed[held] = images[held] * 100  # would stretch every range
    harm = [mrecg.sensitivity(network, x, **QUICK).of("layer", "activations")[3] for x in (images, changed)]
    assert harm[1].kl > harm[0].kl and len(learned) == 12


def test_the_network_is_left_as_it_was(network: nn.Module, images: Tensor) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mrecg.sensitivity(network, images, **QUICK)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_networks_without_classes_and_of_one_image(images: Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    for some in (images, images[:1]):
        found = mrecg.sensitivity(net, some, **QUICK)
        assert found.of("layer") and all(row.kl >= 0 for row in found.rows)
        assert found.measure == "relative_error"


@pytest.mark.parametrize(
    ("form", "early"),
    [("dict", "aux.1"), ("heads", "head"), ("indices", "b.0")],
)
def test_outputs_that_leave_before_the_last_unit_count(form: str, early: str) -> None:
    net, x = branches(form), several_outputs.images()
    found = mrecg.sensitivity(net, x, bits={"boundary": None, "activation": 32}, **QUICK)
    assert all(row.kl > 0 and row.error is None for row in found.rows)
    assert found.measure == "relative_error"
    only = {"layers": {"*": 32, early: 2}, "activation": 32, "boundary": None}
    alone = mrecg.quantize(net, x, method="rtn", steps=1, bits=only, trainer={"batch_size": 4}, **QUICK)
    held = x[divided(12, 0.25, 0)[1]]
    with torch.no_grad():
        pairs = [
            output_squares(*both)
            for both in zip(tensors_of(alone.model(held)), tensors_of(net(held)), strict=True)
        ]
    (row,) = [row for row in found.of("layer", "weights") if row.name == early]
    assert row.kl == pytest.approx(sum(error / norm for error, norm in pairs) / len(pairs), rel=1e-3)


def test_a_dict_with_scores_and_their_classes_is_judged_by_the_scores(
    found: Sensitivity, network: nn.Module, images: Tensor
) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"scores": logits, "classes": logits.argmax(1)}

    several = mrecg.sensitivity(Both(), images, **QUICK)
    assert [row.kl for row in several.rows] == pytest.approx(
        [row.kl for row in found.rows], rel=1e-4, abs=1e-9
    )
    assert any(row.error is not None for row in several.rows)


@pytest.mark.parametrize(
    ("bits", "says"),
    [
        ({"weight": 32, "activation": 32}, "nothing is quantized"),
        ({"budget": 3}, "bits.budget: chooses widths by sensitivities"),
        ({"layers": {"nothing": 3}}, "bits.layers: 'nothing' matches no layer"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    network: nn.Module, images: Tensor, bits: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        mrecg.sensitivity(network, images, bits=bits, **QUICK)


def test_files(found: Sensitivity, tmp_path: Path) -> None:
    found.write(tmp_path)
    read = json.loads((tmp_path / "sensitivity.json").read_text())
    with (tmp_path / "sensitivity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(read["rows"]) == len(found.rows)
    assert [float(row["kl"]) for row in rows] == [row.kl for row in found.rows]
    assert rows[-1]["name"] == read["rows"][-1]["name"] == "head"
