"""Bits of single layers: names, modules around them, globs, kinds, exclusion, and what is refused."""

from typing import Any

import pytest
from tiny_net import build
from torch import fx

from mrecg.config.schema import BitsConfig
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError
from mrecg.graph.trace import trace
from mrecg.quant.bit_widths import Policy, left_out, policy


@pytest.fixture(scope="module")
def tiny() -> fx.GraphModule:
    return trace(build(), (3, 8, 8)).graph


def decide(tiny: fx.GraphModule, **bits: Any) -> Policy:
    return policy(tiny.graph, BitsConfig(**bits))


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [
        ("first.conv1", ["first.conv1"]),
        ("first", ["first.conv1", "first.conv2"]),
        ("*.conv1", ["first.conv1", "second.conv1"]),
        ("*", None),
        ("s[te]*", ["stem.0", "second.conv1", "second.conv2", "second.down"]),
        ("second.conv?", ["second.conv1", "second.conv2"]),
        ("kind:linear", ["head"]),
        ("kind:depthwise", ["third.depthwise"]),
        ("kind:pointwise", ["second.down", "third.expand", "third.project"]),
        ("kind:first", ["stem.0"]),
        ("kind:last", ["head"]),
    ],
)
def test_a_pattern_decides_the_bits_of_its_layers_alone(
    tiny: fx.GraphModule, pattern: str, layers: list[str] | None
) -> None:
    usual = decide(tiny).layers
    found = decide(tiny, layers={pattern: 5}).layers
    assert {name for name in usual if found[name] == 5} == set(layers or usual)
    assert all(found[name] == usual[name] for name in usual if layers and name not in layers)
    assert set(decide(tiny, exclude=[pattern]).layers) == set(usual) - set(layers or usual)
    assert decide(tiny, weight=32, layers={pattern: 4}).layers == dict.fromkeys(layers or usual, 4)


def test_a_name_is_no_prefix_of_another() -> None:
    from torch import nn

    net = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(11)))
    found = policy(trace(net, (3, 8, 8)).graph.graph, BitsConfig(layers={"1": 7})).layers
    assert [name for name, bits in found.items() if bits == 7] == ["1"]


def test_of_several_patterns_the_last_counts(tiny: fx.GraphModule) -> None:
    found = decide(tiny, layers={"*": 6, "kind:depthwise": 8, "first": 3, "first.conv2": 4}).layers
    assert (found["stem.0"], found["third.depthwise"]) == (6, 8)
    assert (found["first.conv1"], found["first.conv2"]) == (3, 4)


def test_activations_have_bits_by_the_layer_that_reads_them(tiny: fx.GraphModule) -> None:
    usual, found = decide(tiny), decide(tiny, activations={"third.project": 7})
    assert found.layers == usual.layers
    assert found.reads == usual.reads | {"third.project": 7}
    assert decide(tiny, activations={"head": 3}).reads == usual.reads | {"head": 3}
    only = decide(tiny, activation=32, activations={"kind:depthwise": 4})
    assert [bits for bits in only.reads.values() if bits < 32] == [4] and len(only.activations) == 1


def test_a_value_that_several_layers_read_has_the_fewest_bits_that_a_pattern_asks_for(
    tiny: fx.GraphModule,
) -> None:
    # What leaves `first` is read by second.conv1 and by the shortcut second.down.
    assert decide(tiny, activations={"second.down": 8}).reads["second.conv1"] == 8
    both = decide(tiny, activations={"second.down": 8, "second.conv1": 6}).reads
    assert both["second.down"] == both["second.conv1"] == 6


def test_what_an_excluded_layer_alone_reads_is_not_quantized(tiny: fx.GraphModule) -> None:
    usual = decide(tiny)
    found = decide(tiny, exclude=["third.project", "second.down"])
    assert found.reads == usual.reads | {"third.project": 32}  # second.conv1 reads what second.down does
    left = left_out(tiny.graph, BitsConfig(exclude=("third.project",)))
    assert [(part.name, part.parameters) for part in left] == [("third.project", 136)]
    assert "bits.exclude" in left[0].reason
    assert decide(tiny, input=8).reads["stem.0"] == 8
    assert decide(tiny, input=8, exclude=["stem"]).reads["stem.0"] == 32


@pytest.mark.parametrize(
    ("bits", "says"),
    [
        ({"layers": {"frist": 4}}, r"bits.layers: 'frist' matches no layer; near it are first, "),
        ({"exclude": ["haed"]}, r"bits.exclude: 'haed' matches no layer; near it are head"),
        ({"layers": {"linear": 4}}, r"did you mean kind:linear\?"),
        (
            {"layers": {"kind:lineer": 4}},
            r"no kind of layers \(did you mean kind:linear\?\); choose from conv,",
        ),
        ({"layers": {"kind:grouped": 4}}, r"no layer of 'kind:grouped'; it has conv, linear, depthwise,"),
        ({"activations": {"qqqqqq": 4}}, r"bits.activations: .* the network has stem.0, .*kind:conv"),
        ({"layers": {"head": 4, "*": 3}}, r"'head' has no effect, because '\*' .* put it last"),
        ({"layers": {"head": 4}, "exclude": ["kind:linear"]}, r"'head' has no effect, because bits.exclude"),
        (
            {"activations": {"stem": 4}},
            r"'stem' matches only layers that read the image, whose bits are bits.input",
        ),
    ],
)
def test_a_pattern_without_effect_is_refused(tiny: fx.GraphModule, bits: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        decide(tiny, **bits)


@pytest.mark.parametrize(
    ("bits", "says"),
    [
        ({"layers": {"a": 9}}, r"^bits.layers: .* a has 9; must be 2 to 8, or 32"),
        ({"layers": {"a": True}}, r"^bits.layers: .* a has True"),
        ({"activations": {"a": "four"}}, r"^bits.activations: .* a has 'four'"),
        ({"layers": 4}, r"^bits.layers: 4 is not right: give widths by pattern"),
        ({"exclude": "a"}, r"^bits.exclude: 'a' is not right: give a list"),
    ],
)
def test_widths_that_are_none_are_refused(bits: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run_config({"bits": bits})


def test_names_typed_as_keys_are_names_again() -> None:
    config = run_config({"bits": {"layers": {"features": {"0": {"1": 8}, "3": 4}}}})
    assert config.bits.layers == {"features.0.1": 8, "features.3": 4}
