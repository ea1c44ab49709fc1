"""The bases that are chosen: means are taken out, errors fall, one step fits each channel."""

from typing import Any

import bottlenecks
import pytest
import torch
from torch import Tensor, fx, nn

from mrecg.config.rebasis import RebasisConfig
from mrecg.config.schema import BitsConfig, CalibrationConfig
from mrecg.graph.basis import rebase
from mrecg.graph.linear_values import depthwise_inputs, linear_chains
from mrecg.graph.trace import trace
from mrecg.quant.bit_widths import policy
from mrecg.quant.rebasis import Choice, choose, step_factors

CALIBRATION = CalibrationConfig(bins=256, candidates=20)


def graph_of(seed: int = 0) -> fx.GraphModule:
    return trace(bottlenecks.build(seed), (3, 8, 8)).graph


def chosen(traced: fx.GraphModule, bits: int = 4, **config: Any) -> Choice:
    activations = policy(traced.graph, BitsConfig(activation=bits)).activations
    return choose(
        traced,
        bottlenecks.images(24),
        activations,
        RebasisConfig(**{"name": "full", **config}),
        calibration=CALIBRATION,
        batch=10,
    )


def values(traced: fx.GraphModule) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            found[n.name] = super().run_node(n)
            return found[n.name]

    with torch.no_grad():
        Watch(traced).run(bottlenecks.images(24))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_of_each_channel_is_taken_out_where_it_is_quantized(seed: int) -> None:
    traced = graph_of(seed)
    choice = chosen(traced, name="shift")
    quantized = policy(traced.graph, BitsConfig()).activations
    points = [v.node for chain in linear_chains(traced) for v in chain.values if v.node in quantized]
    before = values(traced)
    rebase(traced, choice.rebasis)
    after = values(traced)
    assert choice.shifted[0][0] == "project" and not choice.scaled and len(points) > 2
    for node in points:
        assert after[node].mean((0, 2, 3)).abs().max() < 1e-5 * before[node].abs().max()
        assert before[node].mean((0, 2, 3)).abs().max() > 1e-3 * before[node].abs().max()


def test_parts_can_be_chosen() -> None:
    traced = graph_of(2)
    full, shift = chosen(traced), chosen(traced, name="shift")
    assert full.shifted == shift.shifted and full.scaled and not shift.scaled
    assert chosen(traced, name="shift", depthwise_scales=True).scaled == full.scaled
    none = chosen(traced, shift=False, depthwise_scales=False)
    assert not none.shifted and not none.scaled and none.rebasis.outputs == {}


def test_the_choice_repeats_and_only_some_images_are_looked_at() -> None:
    one, same, fewer = chosen(graph_of(2)), chosen(graph_of(2)), chosen(graph_of(2), images=6)
    assert (one.images, fewer.images) == (24, 6)
    assert one.rebasis.outputs.keys() == same.rebasis.outputs.keys()
    for path, given in one.rebasis.outputs.items():
        again, other = same.rebasis.outputs[path], fewer.rebasis.outputs[path]
        for mine, repeated in ((given.shift, again.shift), (given.factor, again.factor)):
            assert (mine is None) == (repeated is None)
            assert mine is None or repeated is None or torch.equal(mine, repeated)
        assert given.shift is None or other.shift is None or not torch.equal(given.shift, other.shift)


class Unpadded(nn.Module):
    """A depthwise convolution that reads a linear value, which may be shifted or scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x)).relu()


def test_a_value_is_shifted_or_scaled() -> None:
    traced = trace(Unpadded().eval(), (3, 8, 8)).graph
    x = bottlenecks.images(24)
    expected = traced(x)
    choice = chosen(traced)
    assert choice.shifted == (("first",),) and not choice.scaled
    rebase(traced, choice.rebasis)
    torch.testing.assert_close(traced(x), expected, rtol=0, atol=1e-5)
    scaled = chosen(trace(Unpadded().eval(), (3, 8, 8)).graph, shift=False)
    assert scaled.scaled == ("last",) and not scaled.rebasis.caps


def test_one_step_fits_each_channel_of_a_depthwise_input() -> None:
    traced = graph_of(1)
    choice = chosen(traced, shift=False)
    assert not choice.shifted
    assert list(choice.scaled) == [
        name for name, part in traced.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    pairs = {pair.reader: pair.node for pair in depthwise_inputs(traced)}
    rebase(traced, choice.rebasis)
    after = values(traced)
    for path in choice.scaled:
        back = choice.rebasis.inputs[path].factor
        assert back is not None and float(back.max() / back.min()) > 1.3, path
        steps = step_factors(after[pairs[path]].transpose(0, 1).flatten(1), 15, CALIBRATION)
        steps = steps[(back > 1 / 64) & (back < 64)]  # of those that have the factor that they need
        assert len(steps) > 4 and float(steps.max() / steps.min()) < 1.2, path


def test_a_channel_that_is_zero_keeps_its_factor() -> None:
    rows = torch.rand(3, 600, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[1.0], [0.0], [1e-9]]
    )
    factors = step_factors(rows, 15, CALIBRATION)
    assert factors[1] == 1 and factors[2] == 64 and 0.5 < float(factors[0]) < 2
    assert torch.equal(step_factors(rows * 0, 15, CALIBRATION), torch.ones(3, dtype=torch.float64))


def test_what_is_not_quantized_is_left_alone() -> None:
    traced = graph_of(0)
    choice = chosen(traced, bits=32)
    assert (choice.shifted, choice.scaled, choice.rebasis.caps) == ((), (), {})
