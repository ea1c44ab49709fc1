"""A network computes what it did, whatever bases its values get."""

import bottlenecks
import pytest
import tiny_net
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from mrecg.errors import CheckpointError
from mrecg.graph.basis import Map, Rebasis, rebase, restructure, structure
from mrecg.graph.fold import UNFOLDED
from mrecg.graph.linear_values import depthwise_inputs, linear_chains
from mrecg.graph.trace import trace


def random_rebasis(traced: fx.GraphModule, seed: int) -> Rebasis:
    """Any bases at all: shifts and scales."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    outputs, inputs, caps = {}, {}, {}
    for chain in linear_chains(traced):
        steps = normal(len(chain.producers), chain.channels)
        outputs |= {path: Map(shift=-step) for path, step in zip(chain.producers, steps, strict=True)}
        for value in chain.values:
            moved = torch.tensor(value.sums, dtype=torch.float64) @ steps
            inputs |= {path: Map(shift=moved) for path in value.readers}
    for pair in depthwise_inputs(traced):
        layer = traced.get_submodule(pair.producer)
        if pair.producer not in outputs:
            factor = normal(layer.out_channels).exp()
            outputs[pair.producer], inputs[pair.reader] = Map(factor), Map(1 / factor)
            caps |= {pair.node: pair.cap * factor} if pair.cap < float("inf") else {}
    return Rebasis(outputs, inputs, caps)


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(seed=st.integers(0, 10**6))
@torch.no_grad()
def test_outputs_stay(seed: int) -> None:
    model, x = bottlenecks.build(seed), bottlenecks.images()
    traced = trace(model, (3, 8, 8)).graph
    before = {name: value.clone() for name, value in traced.state_dict().items()}
    rebasis = random_rebasis(traced, seed)
    assert rebasis.outputs and rebasis.caps
    rebase(traced, rebasis)
    torch.testing.assert_close(traced(x), model(x), rtol=0, atol=1e-4)
    after = traced.state_dict()
    for path, made in rebasis.outputs.items():
        changed = "bias" if made.factor is None else "weight"
        old = before.get(f"{path}.{changed}")
        assert old is None or not torch.equal(after[f"{path}.{changed}"], old)

    loaded = trace(bottlenecks.build(seed), (3, 8, 8)).graph
    restructure(loaded, **structure(traced))
    loaded.load_state_dict(after)
    assert torch.equal(loaded(x), traced(x))
    assert structure(loaded) == structure(traced)


@torch.no_grad()
def test_layers_with_their_batchnorms_change_with_those_that_have_them_folded() -> None:
    model, x = bottlenecks.build(5), bottlenecks.images()
    traced = trace(model, (3, 8, 8)).graph
    rebase(traced, random_rebasis(traced, 5))
    kept = traced.meta[UNFOLDED]
    assert set(kept) & {"stem.0", "blocks.0.expand"}
    values: dict[str, tuple[Tensor, Tensor]] = {}

    class Watch(fx.Interpreter):
        def call_module(self, target, args, kwargs):  # type: ignore[no-untyped-def]
            value = super().call_module(target, args, kwargs)
            if target in kept:
                values[target] = value, kept[target](*args)
            return value

    Watch(traced).run(x)
    assert set(values) == set(kept)
    for folded, unfolded in values.values():
        torch.testing.assert_close(unfolded, folded, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_sum_with_an_activation_and_a_mean_before_the_classifier() -> None:
    torch.manual_seed(0)
    model, x = tiny_net.build().eval(), bottlenecks.images()
    traced = trace(model, (3, 8, 8)).graph
    rebasis = random_rebasis(traced, 0)
    assert set(rebasis.outputs) == {"third.project", "third.expand"}
    assert set(rebasis.inputs) == {"head", "third.depthwise"}
    rebase(traced, rebasis)
    torch.testing.assert_close(traced(x), model(x), rtol=0, atol=1e-4)
    assert structure(traced) == {"biases": [], "caps": list(rebasis.caps)}


def test_what_is_not_there_cannot_have_been_changed() -> None:
    for biases, caps in ((["nothing"], []), ([], ["nothing"]), (["stem"], []), ([], ["stem_0"])):
        graph = trace(bottlenecks.build(), (3, 8, 8)).graph
        with pytest.raises(CheckpointError, match="was re-based there, and is not a part of this network"):
            restructure(graph, biases, caps)
