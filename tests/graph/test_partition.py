from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from unit_contract import check_contract

from mrecg.errors import ConfigError
from mrecg.graph.ops import is_activation, module_of
from mrecg.graph.partition import MAX_CHAIN, Unit, partition
from mrecg.graph.trace import trace

Trace = Callable[[str], fx.GraphModule]


def names(units: tuple[Unit, ...]) -> list[str]:
    return [unit.name for unit in units]


def blocks(*depths: int, first: int = 1) -> list[str]:
    return [f"layer{first + i}.{j}" for i, depth in enumerate(depths) for j in range(depth)]


MOBILENET = [*(f"features.{i}" for i in range(18)), "features.18-classifier"]
GOLDEN = {
    "embedded": MOBILENET,
    "mobilenet_v2": MOBILENET,
    "resnet18": ["conv1", *blocks(2, 2, 2, 2), "fc"],
    "resnet50": ["conv1", *blocks(3, 4, 6, 3), "fc"],
    "vgg16_bn": [
        *("features.0-7", "features.10-17", "features.20-27"),
        *("features.30-37", "features.40", "classifier"),
    ],
    "efficientnet_b0": [
        *("features.0", "features.1", "features.2.0", "features.2.1", "features.3.0", "features.3.1"),
        *(f"features.{i}.{j}" for i, depth in ((4, 3), (5, 3), (6, 4)) for j in range(depth)),
        *("features.7", "features.8-classifier"),
    ],
    "mobilenet_v3_small": [*(f"features.{i}" for i in range(13)), "classifier"],
    "googlenet": [
        "conv1-conv3",
        *(f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
        "fc",
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_units(name: str, skeleton_of: Trace) -> None:
    assert names(partition(skeleton_of(name))) == GOLDEN[name]


NETWORKS = [
    *(
        "embedded",
        "mobilenet_v2",
        "resnet18",
        "resnet50",
        "vgg16_bn",
        "mnasnet1_0",
        "densenet121",
        "googlenet",
    ),
    *("regnet_x_400mf", "regnet_y_400mf", "shufflenet_v2_x1_0", "squeezenet1_1", "convnext_tiny"),
    *("efficientnet_b0", "mobilenet_v3_small", "alexnet"),
]


@pytest.mark.parametrize("granularity", ["layer", "block"])
@pytest.mark.parametrize("name", NETWORKS)
def test_contract(name: str, granularity: str, skeleton_of: Trace) -> None:
    traced = skeleton_of(name)
    units = partition(traced, granularity)
    check_contract(traced, units)
    for unit in units:
        assert unit.facts.residual or len(unit.layers) <= (1 if granularity == "layer" else MAX_CHAIN)


def test_layers_of_mobilenet_keep_shortcuts_whole(skeleton_of: Trace) -> None:
    units = partition(skeleton_of("mobilenet_v2"), "layer")
    assert names(units)[:7] == [
        *("features.0", "features.1.conv.0", "features.1.conv.1"),
        *("features.2.conv.0", "features.2.conv.1", "features.2.conv.2", "features.3"),
    ]
    assert [len(unit.layers) for unit in units if unit.facts.residual] == [3] * 10
    assert names(units)[-2:] == ["features.18", "classifier"]


def test_the_pool_behind_the_stem_belongs_to_the_first_block(skeleton_of: Trace) -> None:
    traced = skeleton_of("resnet18")
    stem, first = partition(traced)[:2]
    assert stem.nodes == ("conv1", "relu") and first.nodes[0] == "maxpool"


def test_an_activation_belongs_to_its_producer(skeleton_of: Trace) -> None:
    for name in ("resnet18", "mobilenet_v2", "vgg16_bn", "efficientnet_b0"):
        nodes = {node.name: node for node in skeleton_of(name).graph.nodes}
        for granularity in ("layer", "block"):
            for unit in partition(skeleton_of(name), granularity):
                assert not is_activation(nodes[unit.nodes[0]])


def test_facts(skeleton_of: Trace) -> None:
    units = {unit.name: unit.facts for unit in partition(skeleton_of("mobilenet_v2"))}
    expand, depthwise, project = units["features.2"].layers
    assert (expand.kind, depthwise.kind, project.kind) == ("dense", "depthwise", "dense")
    assert (expand.weights, depthwise.weights, project.weights) == (16 * 96, 96 * 9, 96 * 24)
    assert (expand.stride, depthwise.stride, depthwise.kernel) == (1, 2, (3, 3))
    assert not units["features.2"].residual and units["features.3"].residual
    last = units["features.18-classifier"].layers[-1]
    assert (last.name, last.kind, last.kernel, last.weights) == ("classifier.1", "linear", (), 1280 * 1000)
    grouped = partition(skeleton_of("regnet_x_400mf"))[1].facts.layers
    assert "grouped" in [layer.kind for layer in grouped]


class Functional(nn.Module):
    """A residual network without a hierarchy of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4 if i else 3, 4, 3, padding=1) for i in range(6))
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.convs[0](x))
        for i in (1, 3):
            y = torch.relu(self.convs[i](x))
            x = torch.relu(x + self.convs[i + 1](y))
        out: Tensor = self.fc(torch.flatten(self.convs[5](x).mean((2, 3)), 1))
        return out


def test_a_model_without_hierarchy_is_cut_around_its_joins() -> None:
    traced = trace(Functional()).graph
    units = partition(traced)
    check_contract(traced, units)
    assert names(units) == ["convs.0", "convs.1-2", "convs.3-4", "convs.5-fc"]
    assert [unit.facts.residual for unit in units] == [False, True, True, False]
    assert names(partition(traced, "layer")) == [*names(units)[:3], "convs.5", "fc"]


def test_plain_chains_have_at_most_three_layers() -> None:
    traced = trace(nn.Sequential(*(nn.Linear(3, 3) for _ in range(8)))).graph
    assert [len(unit.layers) for unit in partition(traced)] == [3, 3, 2]
    assert names(partition(traced)) == ["0-2", "3-5", "6-7"]


def test_a_gate_alone_is_no_block(skeleton_of: Trace) -> None:
    traced = skeleton_of("efficientnet_b0")
    nodes = {node.name: node for node in traced.graph.nodes}
    pools = [name for name, node in nodes.items() if isinstance(module_of(node), nn.AdaptiveAvgPool2d)]
    assert len(pools) == 17 and all(
        len(unit.layers) >= 4 for unit in partition(traced) if set(unit.nodes) & set(pools[:-1])
    )


def test_unknown_granularity_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"granularity: 'blocks' is not a choice.*choose from layer, block"):
        partition(trace(nn.Sequential(nn.Linear(2, 2))).graph, "blocks")


STAGES = {
    "resnet18": [1, 2, 2, 2, 2, 1],
    "resnet50": [1, 3, 4, 6, 3, 1],
    "mobilenet_v2": [1, 1, 2, 3, 7, 4, 1],
    "efficientnet_b0": [1, 1, 2, 2, 3, 3, 4, 1, 1],
    "regnet_x_400mf": [1, 1, 2, 7, 12, 1],
    "convnext_tiny": [1, 3, 4, 10, 4, 1],
    "shufflenet_v2_x1_0": [1, 4, 8, 4, 1],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_begin_where_the_image_gets_smaller_or_the_parent_changes(
    name: str, skeleton_of: Trace
) -> None:
    stages = [unit.facts.stage for unit in partition(skeleton_of(name))]
    assert [stages.count(stage) for stage in range(stages[-1] + 1)] == STAGES[name]
    assert stages == sorted(stages)


class Blended(nn.Module):
    """Joins that have no name in any list."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.convs[0](x))
        x = torch.lerp(x, self.convs[1](x), 0.3)
        x = torch.where(x > 0, x, self.convs[2](x))
        return torch.addcmul(x, x, self.convs[3](x))


def test_any_operation_on_several_tensors_is_a_join() -> None:
    units = partition(trace(Blended()).graph)
    assert [unit.layers for unit in units] == [(f"convs.{i}",) for i in range(4)]
    assert [unit.facts.residual for unit in units] == [False, True, True, True]
