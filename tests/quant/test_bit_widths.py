from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, fx, nn

from mrecg.config import hydra_compose
from mrecg.config.schema import BitsConfig
from mrecg.config.validate import plain, run_config
from mrecg.errors import ConfigError
from mrecg.graph.ops import module_of
from mrecg.graph.trace import trace
from mrecg.quant.bit_widths import Policy, policy

Trace = Callable[[str], fx.GraphModule]


def decide(traced: fx.GraphModule, **bits: Any) -> Policy:
    return policy(traced.graph, BitsConfig(**bits))


def test_resnet18_quantizes_behind_relus_only(skeleton_of: Trace) -> None:
    traced = skeleton_of("resnet18")
    found = decide(traced).activations
    relus = [node.name for node in traced.graph.nodes if isinstance(module_of(node), nn.ReLU)]
    assert len(relus) == 17 and list(found) == relus
    assert not any("conv2" in name or "downsample" in name or name == "fc" for name in found)


def test_mobilenet_v2_quantizes_linear_bottlenecks_unless_they_feed_an_add(skeleton_of: Trace) -> None:
    traced = skeleton_of("mobilenet_v2")
    found = decide(traced).activations
    nodes = {node.name: node for node in traced.graph.nodes}
    bare = {str(nodes[name].target) for name in found if isinstance(module_of(nodes[name]), nn.Conv2d)}
    expected = {"features.1.conv.1"} | {f"features.{i}.conv.2" for i in (2, 4, 7, 11, 14, 17)}
    assert bare == expected
    adds = [name for name in found if nodes[name].op == "call_function"]
    assert len(adds) == 10 and all(name.startswith("add") for name in adds)
    relus = [node.name for node in nodes.values() if isinstance(module_of(node), nn.ReLU6)]
    assert len(relus) == 35 and set(relus) <= set(found) and len(found) == 35 + 10 + 7


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_first_and_last_layer_and_the_input_of_the_last_are_8_bit(skeleton_of: Trace, name: str) -> None:
    traced = skeleton_of(name)
    found = decide(traced, weight=2, activation=4)
    layers = list(found.layers.items())
    assert [bits for _, bits in layers] == [8] + [2] * (len(layers) - 2) + [8]
    high = [node for node, bits in found.activations.items() if bits == 8]
    assert high == [list(found.activations)[-1]]  # the last activation, through pooling, flatten and dropout


def test_stem_conventions(skeleton_of: Trace) -> None:
    traced = skeleton_of("resnet18")
    assert next(iter(decide(traced, activation=3, stem_output="low").activations.values())) == 3
    high = list(decide(traced, activation=3, stem_output="high").activations.values())
    assert high[0] == 8 and set(high[1:-1]) == {3}


@pytest.mark.parametrize("boundary", [None, 4, 8, 32])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_the_stem_can_have_8_bits_whatever_the_boundary(
    skeleton_of: Trace, name: str, boundary: int | None
) -> None:
    traced = skeleton_of(name)
    low, found = (decide(traced, activation=3, boundary=boundary, stem_output=stem) for stem in ("low", 8))
    stem = next(iter(low.activations))
    assert low.activations[stem] == 3
    assert found == Policy(low.layers, low.activations | {stem: 8})  # and nothing else


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("activation", [4, 32])
@pytest.mark.parametrize("boundary", [None, 8])
def test_the_input_has_a_width_of_its_own(
    skeleton_of: Trace, bits: int, activation: int, boundary: int | None
) -> None:
    traced = skeleton_of("resnet18")
    without = decide(traced, activation=activation, boundary=boundary)
    found = decide(traced, activation=activation, boundary=boundary, input=bits)
    assert "x" not in without.activations
    assert list(found.activations.items()) == [("x", bits), *without.activations.items()]
    assert found.layers == without.layers


class One(nn.Module):
    """Its first layer is its last."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.fc(pixels.mean((2, 3)))
        return out


def test_the_input_of_a_single_layer_has_the_bits_of_the_input() -> None:
    graph = trace(One()).graph
    assert decide(graph, input=6).activations == {"pixels": 6} and not decide(graph).activations


@pytest.mark.parametrize("stem", ["low", "high", 8])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small"])
def test_weights_only_means_no_activation_at_all(skeleton_of: Trace, name: str, stem: str | int) -> None:
    found = decide(skeleton_of(name), weight=2, activation=32, stem_output=stem)
    assert not found.activations and set(found.layers.values()) == {2, 8}


def test_without_a_boundary_all_are_alike(skeleton_of: Trace) -> None:
    found = decide(skeleton_of("resnet18"), weight=3, activation=4, boundary=None, stem_output="high")
    assert set(found.layers.values()) == {3} and set(found.activations.values()) == {4}


def test_the_boundary_never_lowers_the_bits(skeleton_of: Trace) -> None:
    found = decide(skeleton_of("resnet18"), weight=8, activation=6, boundary=4)
    assert set(found.layers.values()) == {8} and set(found.activations.values()) == {6}


def test_32_bits_are_no_entry(skeleton_of: Trace) -> None:
    traced = skeleton_of("resnet18")
    assert decide(traced, weight=32).layers == {} and decide(traced, weight=32).activations
    assert decide(traced, activation=32).activations == {} and decide(traced, activation=32).layers
    float_boundary = decide(traced, weight=4, boundary=32).layers
    assert (
        "conv1" not in float_boundary and "fc" not in float_boundary and set(float_boundary.values()) == {4}
    )


class PreActivation(nn.Module):
    """BatchNorm and activation stand before the convolution, as in DenseNet; a dropout before the add."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.conv = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.drop(self.conv(torch.relu(self.norm(x))))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def test_what_a_kept_batch_norm_makes_is_quantized_and_dropout_is_looked_through() -> None:
    assert list(decide(trace(PreActivation()).graph).activations) == ["relu", "add"]


class GroupNormalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return out


def test_a_normalisation_and_activation_behind_a_layer_are_quantized_once() -> None:
    assert list(decide(trace(GroupNormalised()).graph).activations) == ["relu"]


def test_squeeze_and_excitation_is_quantized_where_a_layer_reads(skeleton_of: Trace) -> None:
    found = list(decide(skeleton_of("mobilenet_v3_small")).activations)
    assert not [name for name in found if "scale_activation" in name]  # a gate goes into the product only
    assert (
        sum("avgpool" in name for name in found) == 9 + 1
        and sum(name.startswith("mul") for name in found) == 9
    )


def test_the_options_arrive_from_the_command_line_and_survive_being_written() -> None:
    axes = [
        "bits.stem_output=low,high,8",
        "bits.input=8",
        "bits.per_tensor_weights=true",
        "bits.boundary=null",
    ]
    found = [config.bits for config in hydra_compose.check(["-m", *axes]).configs]
    assert [bits.stem_output for bits in found] == ["low", "high", 8]
    assert all(bits.input == 8 and bits.per_tensor_weights and bits.boundary is None for bits in found)
    for bits in found:
        assert run_config({"bits": yaml.safe_load(yaml.safe_dump(plain(bits)))}).bits == bits
    usual = run_config({}).bits
    assert (usual.stem_output, usual.input, usual.per_tensor_weights) == ("low", 32, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stem_output": 4}, r"^bits\.stem_output: 4 is not a choice; choose from low, high, 8$"),
        ({"input": 12}, r"^bits\.input: 12 is not right: must be 2 to 8, or 32 for not quantized$"),
        ({"per_tensor_weights": "some"}, r"^bits\.per_tensor_weights: 'some' is not right: .*boolean"),
    ],
)
def test_a_wrong_option_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        run_config({"bits": values})
    assert "\n" not in str(error.value)
