"""Every input of a weight layer stands on exactly one grid of the bits that were asked for."""

import pytest
import torch
import torch.nn.functional as F
from grids import inputs_of_layers, outputs_of_quantizers
from hypothesis import Phase, given, settings
from placed_nets import Chain, Heads, Recurrent, Shared, Stems
from random_nets import RandomNet, networks
from torch import Tensor, nn

from mrecg.config.schema import BitsConfig, CalibrationConfig
from mrecg.errors import CheckpointError
from mrecg.graph.cut import cut
from mrecg.graph.unquantized import Unquantized, said
from mrecg.quant.bit_widths import Policy, recorded
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.calibrate import calibrate

QUICK = CalibrationConfig(bins=128, candidates=16)
EVEN = {"weight": 4, "activation": 4}
DRAW = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink a network would take minutes


def images(count: int = 8, size: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def quantized(model: nn.Module, x: Tensor, **bits: int | None) -> QuantizedNetwork:
    parts = cut(model, input_shape=tuple(x.shape[1:]))
    network = QuantizedNetwork(parts.graph, parts.units, BitsConfig(**(EVEN | bits)))
    assert len(list(calibrate(network, x, QUICK, batch=len(x)))) == len(network.units)
    return network


def error(model: nn.Module, network: QuantizedNetwork, x: Tensor) -> float:
    with torch.no_grad():
        expected, found = model(x), network.model(x)
    return float((found - expected).norm() / (expected - expected.mean()).norm().clamp(min=1e-6))


@settings(max_examples=60, phases=DRAW)
@given(networks())
def test_random_networks_have_one_grid_in_front_of_each_layer(model: RandomNet) -> None:
    x = images()
    network = quantized(model, x)
    layers = network.policy.layers
    assert set(layers) == set(model.nearest)
    read = inputs_of_layers(network.model, x)
    for path, seen in read.items():
        if model.nearest[path] == {"image"} or (path in ("one", "two") and model.kind in ("linear", "two")):
            continue  # the image is not quantized, nor is a mean: the feature map before it is
        assert seen.one_grid(8 if path in model.last else 4), f"{path} of {model.steps}, {model.kind}"
    # Nothing else is rounded: what a quantizer gives, some layer reads as it is, or averages.
    for name, given_out in outputs_of_quantizers(network.model, x).items():
        heads = model.kind in ("linear", "two") and network.policy.activations[name.rpartition(".")[2]] == 8
        same = any(torch.isin(seen.values, F.pad(given_out.values, (0, 1))).all() for seen in read.values())
        assert same or heads, f"{name} of {model.steps}"


@settings(max_examples=40, phases=DRAW)
@given(networks())
def test_random_networks_have_the_bits_that_were_asked_for(model: RandomNet) -> None:
    network = quantized(model, images(2), weight=2, activation=3)
    ends = {"stem"} | model.last
    assert network.policy.layers == {path: 8 if path in ends else 2 for path in model.nearest}
    widths = set(network.policy.activations.values())
    inner = [path for path in model.nearest if path not in ends]
    assert widths <= {3, 8} and (3 in widths or not inner)


@settings(max_examples=40, phases=DRAW)
@given(networks())
def test_random_networks_at_8_bits_are_close_to_full_precision(model: RandomNet) -> None:
    x = images()
    assert error(model, quantized(model, x, weight=8, activation=8), x) < 0.12


SWISHES = {
    "swish": (nn.SiLU(), lambda x: x * torch.sigmoid(x)),
    "hard swish": (nn.Hardswish(), lambda x: x * F.relu6(x + 3) / 6),
    "mish": (nn.Mish(), lambda x: x * torch.tanh(F.softplus(x))),
    "gelu": (nn.GELU(), lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
    "squared relu": (lambda x: F.relu(x).square(), lambda x: torch.where(x > 0, x * x, torch.zeros_like(x))),
    "leaky": (nn.LeakyReLU(0.2), lambda x: torch.maximum(x, 0.2 * x)),
    "elu": (nn.ELU(), lambda x: F.relu(x) + torch.clamp(x, max=0).expm1()),
}


@pytest.mark.parametrize("name", SWISHES)
def test_a_function_by_hand_is_quantized_as_the_module(name: str) -> None:
    x, errors = images(16, 16), []
    for function in SWISHES[name]:
        torch.manual_seed(0)
        model = Chain(function).eval()
        network = quantized(model, x)
        assert len(network.policy.activations) == 3
        errors.append(error(model, network, x))
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


BETWEEN = {
    "PixelShuffle, PReLU": (nn.PixelShuffle(2), nn.PReLU(), 4),
    "contiguous, SiLU": (lambda x: x.contiguous(), nn.SiLU(), 16),
    "float, GELU": (lambda x: x.float(), nn.GELU(), 16),
    "cat, SiLU": (lambda x: torch.cat([x[:, 8:], x[:, :8]], 1), nn.SiLU(), 16),
    "MaxPool, LeakyReLU": (nn.MaxPool2d(3, 1, 1), nn.LeakyReLU(0.2), 16),
    "constant scale, ReLU": (lambda x: x * 2.0 + 0.1, nn.ReLU(), 16),
    "ReLU6, AvgPool": (nn.ReLU6(), nn.AvgPool2d(2, 1), 16),
    "SiLU, bilinear": (nn.SiLU(), lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), 16),
    "cat of two functions": (lambda x: torch.cat([x.relu(), x.neg().relu()], 1), nn.Identity(), 32),
    "GroupNorm, tanh": (nn.GroupNorm(4, 16), nn.Tanh(), 16),
    "padded with ones": (lambda x: F.pad(x, (1, 1, 1, 1), value=1.0), nn.SiLU(), 16),
    "logarithm": (lambda x: x.abs().log1p(), nn.Identity(), 16),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_whatever_lies_between_two_layers_they_read_one_grid(name: str) -> None:
    *functions, width = BETWEEN[name]
    x = images(8, 16)
    network = quantized(Chain(*functions, width=width).eval(), x)
    read = inputs_of_layers(network.model, x)
    assert all(read[layer].one_grid(4) for layer in "bc") and len(network.policy.activations) == 3


@pytest.mark.parametrize(
    "function", [nn.SiLU(), nn.LeakyReLU(0.2), nn.PReLU(16), nn.GELU(), nn.ReLU(), nn.Softplus()]
)
def test_a_function_of_a_value_that_is_also_added_is_quantized_after_it(function: nn.Module) -> None:
    x = images(8, 16)
    network = quantized(Shared(function).eval(), x)
    read = inputs_of_layers(network.model, x)
    assert all(read[f"convs.{i}"].one_grid(4) for i in range(4))
    assert len(network.policy.activations) == 5


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("two", {"one", "two"}),
        ("levels", {"one", "one_call2", "one_call3"}),
        ("refined", {"one", "two"}),
    ],
)
def test_all_layers_whose_result_leaves_are_last(kind: str, last: set[str]) -> None:
    x = images(8, 16)
    network = quantized(Heads(kind).eval(), x)
    assert {path for path, bits in network.policy.layers.items() if bits == 8} == {"a"} | last
    read = inputs_of_layers(network.model, x)
    assert read["b"].one_grid(4) and read["c"].one_grid(4)
    assert all(read[path].one_grid(8) for path in last)
    # What another layer reads, too, has that one's bits.
    widths = list(network.policy.activations.values())
    assert widths == {"two": [4, 4, 8], "levels": [4, 4, 8], "refined": [4, 4, 8, 8]}[kind]


@pytest.mark.parametrize(("stem", "width"), [("low", 4), ("high", 8), (8, 8)])
def test_all_layers_that_read_the_image_are_first(stem: str | int, width: int) -> None:
    x = images(8, 16)
    network = quantized(Stems().eval(), x, stem_output=stem, input=6)
    layers = network.policy.layers
    assert {path for path, bits in layers.items() if bits == 8} == {"left", "right", "late", "head"}
    # The image is what the fixed preprocessing makes of it; together with features it is an activation.
    assert list(network.policy.activations.items()) == [
        ("truediv", 6),
        ("cat", 4),
        ("relu_1", width),
        ("relu_2", 8),
    ]
    read = inputs_of_layers(network.model, x)
    assert read["left"].one_grid(6) and torch.equal(read["left"].values, read["right"].values)
    assert read["late"].one_grid(4) and read["middle"].one_grid(width)


def test_what_stays_in_full_precision_is_said() -> None:
    x = images(4, 16)
    parts = cut(Recurrent().eval(), input_shape=(3, 16, 16))
    count = sum(parameter.numel() for parameter in nn.LSTM(64, 64, bidirectional=True).parameters())
    (left,) = parts.unquantized
    assert (left.name, left.parameters) == ("memory", count)
    assert parts.notes[-1] == f"stays in full precision: memory (weights inside LSTM; {count:,} parameters)"
    network = quantized(Recurrent().eval(), x)
    assert (
        len(network.policy.layers) == 3 and len(network.policy.activations) == 2
    )  # LSTM's input: no layer's


def test_notes_name_a_few_places_and_count_the_others() -> None:
    parts = [Unquantized(name=f"norm{i}", reason="BatchNorm", parameters=4) for i in range(5)]
    parts.append(Unquantized(name="bmm", reason="product of two activations", parameters=0))
    assert said(parts) == [
        "stays in full precision: norm0, norm1, norm2 and 2 more (BatchNorm; 20 parameters)",
        "stays in full precision: bmm (product of two activations)",
    ]


def test_a_recorded_policy_is_taken_over_or_refused() -> None:
    parts = cut(Chain(nn.SiLU()).eval(), input_shape=(3, 16, 16))
    graph = parts.graph.graph
    found = recorded(graph, {"a": 8, "b": 3}, {"a": 8, "f0": 5})
    network = QuantizedNetwork(parts.graph, parts.units, BitsConfig(), chosen=found)
    assert network.policy == Policy({"a": 8, "b": 3}, {"a": 8, "f0": 5})
    for layers, activations in [
        ({"d": 4}, {}),
        ({"f0": 4}, {}),
        ({}, {"relu": 4}),
        ({"a": 9}, {}),
        ({}, {"a": 1}),
    ]:
        with pytest.raises(CheckpointError):
            recorded(graph, layers, activations)
