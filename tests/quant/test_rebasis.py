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
from mrecg.quant.chain_basis import orthogonal
from mrecg.quant.rebasis import Choice, choose, step_factors

CALIBRATION = CalibrationConfig(bins=256, candidates=20)


def graph_of(seed: int = 0) -> fx.GraphModule:
    return trace(bottlenecks.build(seed), (3, 8, 8)).graph


def chosen(traced: fx.GraphModule, seed: int = 0, bits: int = 4, **config: Any) -> Choice:
    activations = policy(traced.graph, BitsConfig(activation=bits)).activations
    return choose(
        traced,
        bottlenecks.images(24),
        activations,
        RebasisConfig(**{"name": "full", **config}),
        calibration=CALIBRATION,
        batch=10,
        seed=seed,
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
    before = values(traced)
    rebase(traced, choice.rebasis)
    after = values(traced)
    chains = {chain.producers[0]: chain for chain in linear_chains(traced)}
    assert any(record["shifted"] for record in choice.chains)
    for record in choice.chains:
        points = [v.node for v in chains[record["first"]].values if v.node in quantized]
        assert record["rotated"] is None
        for node in points:
            mean = after[node].mean((0, 2, 3)).abs().max()
            if record["shifted"]:
                assert mean < 1e-4 * before[node].abs().max()
            else:
                assert torch.equal(after[node], before[node])
        assert record["error_after"] < record["error_before"] or not record["shifted"]


def test_a_matrix_is_kept_only_where_it_pays() -> None:
    traced = graph_of(2)
    both, shifted = chosen(traced, tries=8), chosen(traced, name="shift")
    for rotated, plain in zip(both.chains, shifted.chains, strict=True):
        assert rotated["error_after"] <= plain["error_after"] <= plain["error_before"]
        assert (rotated["rotated"] is None) == (rotated["error_after"] == plain["error_after"])
    assert {record["rotated"] for record in both.chains} - {None}
    none = chosen(traced, shift=False, rotate=False, depthwise_scales=False)
    assert not none.chains and not none.scaled and none.rebasis.outputs == {}


def test_the_choice_follows_from_the_seed_alone() -> None:
    one, same, other = chosen(graph_of(2)), chosen(graph_of(2)), chosen(graph_of(2), seed=1)
    assert one.chains == same.chains and one.scaled == same.scaled
    for path, given in one.rebasis.outputs.items():
        for mine, again in ((given.matrix, same.rebasis.outputs[path].matrix),):
            assert (mine is None) == (again is None) and (mine is None or torch.equal(mine, again))
    assert one.chains != other.chains


def test_only_some_images_are_looked_at() -> None:
    traced = graph_of(0)
    assert chosen(traced, images=6).images == 6 and chosen(traced).images == 24
    assert chosen(traced, images=6).chains != chosen(traced).chains


def test_one_step_fits_each_channel_of_a_depthwise_input() -> None:
    traced = graph_of(1)
    choice = chosen(traced, shift=False, rotate=False)
    assert not choice.chains
    assert list(choice.scaled) == [
        name for name, part in traced.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    pairs = {pair.reader: pair.node for pair in depthwise_inputs(traced)}
    rebase(traced, choice.rebasis)
    after = values(traced)
    for path in choice.scaled:
        back = choice.rebasis.inputs[path].matrix
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
    assert (choice.chains, choice.scaled, choice.rebasis.caps) == ((), (), {})


@pytest.mark.parametrize("channels", [1, 5, 32])
def test_matrices_are_orthogonal(channels: int) -> None:
    matrix = orthogonal(channels, 3)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(channels, dtype=torch.float64))
    assert torch.equal(matrix, orthogonal(channels, 3))
    assert channels == 1 or not torch.equal(matrix, orthogonal(channels, 4))
