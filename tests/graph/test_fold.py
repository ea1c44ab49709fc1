"""Whatever only scales and shifts a layer's channels by constants is part of the layer, in any form."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from mrecg.config.schema import BitsConfig
from mrecg.graph.cut import cut
from mrecg.graph.fold import UNFOLDED
from mrecg.graph.ops import module_of
from mrecg.graph.trace import trace
from mrecg.quant.quantized_network import QuantizedNetwork

F64 = torch.float64
Randomise = Callable[[nn.Module], nn.Module]
Forward = Callable[[Any, Tensor], Tensor]


class Frozen(nn.Module):
    """As the detection libraries write it: four buffers."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)
        for name in ("bias", "running_mean"):
            self.register_buffer(name, torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        bias = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1).to(x.dtype) + bias.reshape(1, -1, 1, 1).to(x.dtype)


class Scale(nn.Module):
    """As ConvNeXt writes its layer scale."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(*shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Net(nn.Module):
    """A layer of four output channels, constants, and a function of all of it."""

    def __init__(self, layer: nn.Module, after: Forward, *parts: nn.Module) -> None:
        super().__init__()
        self.layer, self.after, self.parts = layer, after, nn.ModuleList(parts)
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("std", torch.rand(4) + 0.5)
        self.register_buffer("one", torch.tensor(0.7))
        self.gamma, self.beta = nn.Parameter(torch.randn(4, 1, 1)), nn.Parameter(torch.randn(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self, self.layer(x)).sigmoid()


def conv() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


def column(value: Tensor) -> Tensor:
    return value[None, :, None, None]


AFTER: dict[str, Forward] = {
    "numbers": lambda m, x: x * 2.0 + 0.1,
    "reflected": lambda m, x: 0.3 - 2 * x,
    "layer scale": lambda m, x: x * m.gamma,
    "indexed": lambda m, x: m.std[:, None, None] * x,
    "normalised": lambda m, x: (x - column(m.mean)) / column(m.std),
    "in place": lambda m, x: x.sub_(column(m.mean)).div_(column(m.std)).add_(1, alpha=0.5),
    "methods": lambda m, x: x.mul(m.gamma).add(m.beta, alpha=2).neg().sub(m.beta, alpha=0.5),
    "functions": lambda m, x: torch.div(torch.sub(torch.add(x, m.beta, alpha=3), 1, alpha=2), m.gamma),
    "of the constant": lambda m, x: torch.sub(m.beta, torch.add(m.beta, x, alpha=3), alpha=0.3),
    "rsub": lambda m, x: torch.rsub(x, m.beta, alpha=2),
    "addcmul": lambda m, x: torch.addcmul(m.beta, x, m.gamma, value=0.5),
    "addcmul, value first": lambda m, x: torch.addcmul(x, m.beta, m.gamma),
    "addcmul, value last": lambda m, x: torch.addcmul(m.beta, m.gamma, x),
    "addcdiv": lambda m, x: torch.addcdiv(m.beta, x, m.gamma.exp(), value=-2),
    "signs": lambda m, x: operator.neg(+torch.negative(-x)),
    "a number of the network": lambda m, x: x / m.one * m.one.exp() - m.one,
    "computed": lambda m, x: x * torch.rsqrt(m.std + 1e-5).reshape(1, -1, 1, 1) + (m.mean**2).view(-1, 1, 1),
    "its type": lambda m, x: x * m.gamma.to(x.dtype) + m.beta.type_as(x) - m.beta.to(x),
    "its device": lambda m, x: x.mul(m.gamma.to(x.device)).add(m.beta.to(x.device, x.dtype)),
    "its channels": lambda m, x: x * m.std.view(1, x.shape[1], 1, 1) - m.mean.view(1, x.size(1), 1, 1),
    "int": lambda m, x: x * 2 - 1,
}


def layers_left(graph: torch.fx.GraphModule) -> list[str]:
    """What the graph computes, in words."""
    return [str(node.target) for node in graph.graph.nodes if node.op.startswith("call")]


@pytest.mark.parametrize("name", AFTER)
@torch.no_grad()
def test_constants_are_folded(name: str) -> None:
    torch.manual_seed(0)
    model = Net(conv(), AFTER[name]).eval().to(F64)
    x = torch.randn(2, 3, 6, 6, dtype=F64)
    for graph in (trace(model).graph, trace(model, (3, 6, 6)).graph):
        assert layers_left(graph) == ["layer", "sigmoid"]
        torch.testing.assert_close(graph(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["normalised", "addcmul", "of the constant", "computed", "signs"])
@torch.no_grad()
def test_constants_are_folded_in_a_graph_of_torch_export(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mrecg.graph import trace as tracing

    def refuse(model: nn.Module) -> None:
        raise tracing.UntraceableError("not by torch.fx")

    monkeypatch.setattr(tracing, "symbolic_trace", refuse)
    torch.manual_seed(0)
    model = Net(conv(), AFTER[name]).eval()
    traced = trace(model, (3, 6, 6))
    assert traced.route == "torch.export"
    assert [part for part in layers_left(traced.graph) if "sigmoid" not in part] == ["layer"]
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(traced.graph(x), model(x), rtol=1e-5, atol=1e-6)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 2), (2, 3, 5), (4, 1)),
    "conv2d without bias": (lambda: nn.Conv2d(3, 4, 2, bias=False), (2, 3, 5, 5), (1, 4, 1, 1)),
    "conv2d padded": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2), (2, 4, 5, 5), (4, 1, 1)),
    "conv3d": (lambda: nn.Conv3d(3, 4, 2), (2, 3, 4, 4, 4), (4, 1, 1, 1)),
    "linear": (lambda: nn.Linear(3, 4), (2, 3), (4,)),
    "linear of a sequence": (lambda: nn.Linear(3, 4, bias=False), (2, 5, 3), (1, 4)),
    "linear, channels last": (lambda: nn.Linear(3, 4), (2, 5, 5, 3), (4,)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 2), (2, 3, 5), (4, 1)),
    "transposed 2d in groups": (lambda: nn.ConvTranspose2d(4, 4, 2, groups=2), (2, 4, 5, 5), (4, 1, 1)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(3, 4, 2, bias=False), (2, 3, 3, 3, 3), (4, 1, 1, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_constants_are_folded_into_every_kind_of_layer(name: str) -> None:
    torch.manual_seed(0)
    make, shape, constant = LAYERS[name]
    model = Net(make(), lambda m, x: m.parts[0](x) * 3 - m.parts[1].gamma, Scale(*constant), Scale(*constant))
    model, x = model.eval().to(F64), torch.randn(shape, dtype=F64)
    graph = trace(model).graph
    assert layers_left(graph) == ["layer", "sigmoid"]
    torch.testing.assert_close(graph(x), model(x), rtol=1e-12, atol=1e-12)


KEPT: dict[str, tuple[Forward, int]] = {
    "read twice": (lambda m, x: x * 2 + x, 2),
    "read later": (lambda m, x: (x * m.gamma) * (x.mean() + 1), 4),
    "squared": (lambda m, x: x * x, 1),
    "divides": (lambda m, x: 2.0 / x, 1),
    "rounded": (lambda m, x: torch.div(x, 0.1, rounding_mode="floor"), 1),
    "power": (lambda m, x: x**2, 1),
    "by position": (lambda m, x: x * m.mean, 1),  # four columns, not four channels
    "by place": (lambda m, x: x + torch.arange(4.0)[:, None].to(m.mean), 1),
    "more images": (lambda m, x: x[:1] * m.std[:, None, None, None], 2),
    "more dimensions": (lambda m, x: x * m.gamma[None, None], 1),
    "more channels": (lambda m, x: x[:, :1] + m.beta, 2),
}


@pytest.mark.parametrize("name", KEPT)
@torch.no_grad()
def test_what_is_no_constant_per_channel_stays(name: str) -> None:
    torch.manual_seed(0)
    after, count = KEPT[name]
    model = Net(conv(), after).eval().to(F64)
    x = torch.randn(2, 3, 6, 6, dtype=F64)
    graph = trace(model).graph
    computing = [node for node in graph.graph.nodes if node.op.startswith("call") and node.name != "sigmoid"]
    assert len([node for node in computing if module_of(node) is None and "arange" not in node.name]) >= count
    torch.testing.assert_close(graph(x), model(x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_one_channel_is_not_spread_over_several() -> None:
    model = Net(nn.Conv2d(3, 1, 1), lambda m, x: x * m.gamma).eval()
    x = torch.randn(2, 3, 4, 4)
    graph = trace(model).graph
    assert graph(x).shape == (2, 4, 4, 4)
    torch.testing.assert_close(graph(x), model(x))


@torch.no_grad()
def test_constants_before_a_layer_stay() -> None:
    """Where it pads, its zeros would be scaled and shifted, too."""
    model = Net(nn.Conv2d(3, 4, 3, padding=1), lambda m, x: x).eval()
    outer = nn.Sequential(Net(nn.Conv2d(3, 3, 1), lambda m, x: x.relu() * 2 + 1), model).eval()
    x = torch.randn(2, 3, 6, 6)
    assert len(layers_left(trace(outer).graph)) == 7
    torch.testing.assert_close(trace(outer).graph(x), outer(x))


@pytest.mark.parametrize("kind", [Frozen, FrozenBatchNorm2d])
@torch.no_grad()
def test_a_frozen_batch_norm_is_a_batch_norm(kind: Callable[[int], nn.Module], randomised: Randomise) -> None:
    """The very weights and biases that BatchNorm2d gives, but for float32's last digit in its own product."""
    true = randomised(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval())
    frozen = nn.Sequential(nn.Conv2d(3, 6, 3), kind(6), nn.ReLU()).eval()
    frozen.load_state_dict(true.state_dict(), strict=False)
    one, other = (trace(model, (3, 8, 8)).graph for model in (true, frozen))
    assert layers_left(other) == layers_left(one) == ["0", "2"]
    for mine, expected in zip(other.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-6)


CHAINS: dict[str, Forward] = {
    "norm, constants": lambda m, x: m.parts[0](x) * m.gamma + 1,
    "constants, norm": lambda m, x: m.parts[0]((x - 1) / m.gamma),
    "between two norms": lambda m, x: m.parts[1](-m.parts[0](x * 2) * m.gamma) + m.beta,
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("transposed", [False, True])
@torch.no_grad()
def test_chains_with_batch_norms(name: str, transposed: bool, randomised: Randomise) -> None:
    """Folded whole; and kept as they were beside that, with the statistics of every BatchNorm."""
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 4, 2, bias=False) if transposed else nn.Conv2d(3, 4, 2)
    model = randomised(Net(layer, CHAINS[name], nn.BatchNorm2d(4), nn.BatchNorm2d(4))).eval()
    parts = cut(model, input_shape=(3, 6, 6))
    assert layers_left(parts.graph) == ["layer", "sigmoid"]
    network = QuantizedNetwork(parts.graph, parts.units, BitsConfig())
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(network.full[0](x), model(x), rtol=1e-5, atol=1e-6)
    unfolded = network.unfolded(0)
    torch.testing.assert_close(unfolded(x), model(x), rtol=1e-5, atol=1e-6)
    norms = [part for part in unfolded.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == (2 if "two" in name else 1)
    assert torch.equal(norms[0].running_mean, model.parts[0].running_mean)
    # What enters the BatchNorm is what entered it in the model.
    seen: list[Tensor] = []
    hooks = [
        norm.register_forward_pre_hook(lambda _, x: seen.append(x[0])) for norm in (norms[0], model.parts[0])
    ]
    unfolded(x), model(x)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-5, atol=1e-6)
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def test_constants_alone_are_not_kept_for_statistics() -> None:
    assert trace(Net(conv(), AFTER["numbers"])).graph.meta[UNFOLDED] == {}


@torch.no_grad()
def test_products_are_rounded_once() -> None:
    """Ten constants after each other are one product in float64."""
    torch.manual_seed(0)

    def after(m: Any, x: Tensor) -> Tensor:
        for factor in (1.1, 0.7, 3.3, 0.9, 1.7):
            x = (x * factor - 0.3) / 1.3
        return x

    model = Net(conv(), after).eval()
    exact = Net(conv(), after).eval()
    exact.load_state_dict(model.state_dict())
    one, other = trace(model).graph, trace(exact.to(F64)).graph
    for mine, expected in zip(one.layer.parameters(), other.layer.parameters(), strict=True):
        assert torch.equal(mine, expected.float())


@torch.no_grad()
def test_only_batch_norms_are_folded_where_version_0_1_0_is_to_be_met(randomised: Randomise) -> None:
    model = randomised(Net(conv(), lambda m, x: m.parts[0](x) * m.gamma, nn.BatchNorm2d(4))).eval()
    parts = cut(model, input_shape=(3, 6, 6), fold_affine=False)
    assert layers_left(parts.graph)[0] == "layer" and len(layers_left(parts.graph)) == 3
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(parts.graph(x), model(x), rtol=1e-5, atol=1e-6)
