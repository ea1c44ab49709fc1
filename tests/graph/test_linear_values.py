"""Which values have a free basis, and what rules them out."""

from collections.abc import Callable

import bottlenecks
import pytest
import torch
from torch import Tensor, nn

from mrecg.graph.linear_values import depthwise_inputs, linear_chains
from mrecg.graph.trace import trace


class Chained(nn.Module):
    """Two projections that are added up, and what reads the first and the sum."""

    def __init__(self, *, reader: nn.Module, after: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(6, 4, 1, bias=False)
        self.expand, self.reader = nn.Conv2d(4, 6, 1), reader
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.second(self.expand(x).relu())
        return self.after(self.reader(x))


def test_a_chain_is_found_with_all_that_is_added_up_and_reads() -> None:
    (chain,) = linear_chains(trace(Chained(reader=nn.Conv2d(4, 5, 3)), (3, 8, 8)).graph)
    assert (chain.producers, chain.channels, chain.axis) == (("first", "second"), 4, 1)
    assert [(value.sums, value.readers) for value in chain.values] == [
        ((1, 0), ("expand",)),
        ((0, 1), ()),
        ((1, 1), ("reader",)),
    ]


@pytest.mark.parametrize(
    ("reader", "shifts"),
    [
        (nn.Conv2d(4, 5, 3, padding=1), False),
        (nn.Conv2d(4, 5, 3, padding="same"), False),
        (nn.Conv2d(4, 5, 3, padding="valid"), True),
        (nn.Conv2d(4, 5, 1, padding="same"), True),
        (nn.Conv2d(4, 5, 1, padding=1), False),
        (nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"), True),
        (nn.Conv2d(4, 4, 3, groups=4), True),
        (nn.Conv2d(4, 4, 1, stride=2, groups=2), True),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)), True),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1)), True),
    ],
)
def test_a_bias_undoes_a_shift_where_no_zeros_are_added(reader: nn.Module, shifts: bool) -> None:
    assert bool(linear_chains(trace(Chained(reader=reader), (3, 8, 8)).graph)) == shifts


@pytest.mark.parametrize(
    "reader",
    [
        nn.ReLU(),
        nn.Sigmoid(),
        nn.MaxPool2d(2),
        nn.Identity(),
        nn.ConvTranspose2d(4, 5, 2),
        nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 5, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 5)),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)),
        nn.GroupNorm(2, 4),
        nn.Softmax(1),
    ],
)
def test_any_other_reader_rules_a_whole_chain_out(reader: nn.Module) -> None:
    assert not linear_chains(trace(Chained(reader=reader, after=lambda x: x), (3, 8, 8)).graph)


class Joined(nn.Module):
    """A projection that something else is joined with."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], width: int = 4) -> None:
        super().__init__()
        self.first, self.other, self.join = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), join
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.join(self.first(x), self.other(x).relu())).relu()


@pytest.mark.parametrize(
    "join",
    [torch.mul, torch.maximum, torch.sub, lambda a, b: torch.add(a, b, alpha=2), torch.Tensor.lerp_],
    ids=["mul", "maximum", "sub", "alpha", "lerp"],
)
def test_other_joins_than_plain_sums_rule_out(join: Callable[..., Tensor]) -> None:
    if join is torch.Tensor.lerp_:
        join = lambda a, b: torch.lerp(a, b, 0.5)  # noqa: E731
    assert not linear_chains(trace(Joined(join), (3, 8, 8)).graph)
    cat = Joined(lambda a, b: torch.cat([a, b], 1), 8)
    assert not linear_chains(trace(cat, (3, 8, 8)).graph)


def test_what_is_added_to_an_activation_can_be_shifted() -> None:
    (chain,) = linear_chains(trace(Joined(torch.add), (3, 8, 8)).graph)
    assert chain.producers == ("first",) and chain.values[1].readers == ("last",)


def test_a_network_of_bottlenecks_has_its_chains_and_depthwise_inputs() -> None:
    graph = trace(bottlenecks.build(3), (3, 8, 8)).graph
    chains, inputs = linear_chains(graph), list(depthwise_inputs(graph))
    layers = [name for name, part in graph.named_modules() if name.endswith("project")]
    assert {path for chain in chains for path in chain.producers} >= set(layers)
    assert [pair.reader for pair in inputs] == [
        name for name, part in graph.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    assert inputs[0].producer == "stem.0" and inputs[0].cap == 6


class Read(nn.Module):
    """A depthwise convolution, and what stands before it."""

    def __init__(self, between: nn.Module, *, twice: bool = False, groups: int = 4) -> None:
        super().__init__()
        self.first, self.between, self.twice = nn.Conv2d(3, 4, 1), between, twice
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self.first(x))
        return self.depthwise(x) + x if self.twice else self.depthwise(x)


@pytest.mark.parametrize("between", [nn.SiLU(), nn.Hardtanh(-1, 1), nn.Hardswish(), nn.LeakyReLU()])
def test_other_activation_functions_have_no_scale_per_channel(between: nn.Module) -> None:
    assert not list(depthwise_inputs(trace(Read(between), (3, 8, 8)).graph))


def test_a_value_that_others_read_has_none_either() -> None:
    assert not list(depthwise_inputs(trace(Read(nn.ReLU(), twice=True), (3, 8, 8)).graph))
    assert not list(depthwise_inputs(trace(Read(nn.ReLU(), groups=2), (3, 8, 8)).graph))
    (plain,) = depthwise_inputs(trace(Read(nn.Identity()), (3, 8, 8)).graph)
    (clamped,) = depthwise_inputs(trace(Read(nn.Hardtanh(0, 2)), (3, 8, 8)).graph)
    assert not plain.clamps and clamped.clamps and clamped.cap == 2
