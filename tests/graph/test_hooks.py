import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from brought import SHAPE, Looking, images, network
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune

from mrecg.config.schema import BitsConfig
from mrecg.errors import GraphError
from mrecg.graph.cut import Cut, cut
from mrecg.quant.quantized_network import QuantizedNetwork


def scaled(layer: nn.Module, args: Any, out: Tensor) -> Tensor:
    return out * 2 + 1


def shifted(layer: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0] * 0.5 - 1,)


def padded(layer: nn.Module, args: tuple[Tensor]) -> Tensor:
    return F.pad(args[0], (2, 0, 2, 0))


def in_place(layer: nn.Module, args: Any, out: Tensor) -> None:
    out.mul_(3)


def past_autograd(layer: nn.Module, args: Any, out: Tensor) -> None:
    out.data.mul_(3)


def keyword_out(layer: nn.Module, args: Any, kwargs: Any, out: Tensor) -> Tensor:
    return out - 1


def keyword_in(layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return (args[0] + 1,), kwargs


ACTING: dict[str, Callable[[nn.Sequential], object]] = {
    "convolution": lambda m: m[3].register_forward_hook(scaled),
    "convolution before": lambda m: m[3].register_forward_pre_hook(padded),
    "several": lambda m: [m[3].register_forward_hook(scaled), m[3].register_forward_pre_hook(shifted),
                          m[3].register_forward_hook(scaled, prepend=True)],
    "BatchNorm": lambda m: m[1].register_forward_hook(scaled),
    "BatchNorm before": lambda m: m[1].register_forward_pre_hook(shifted),
    "activation": lambda m: m[2].register_forward_hook(scaled),
    "head": lambda m: m[7].register_forward_hook(scaled),
    "the model": lambda m: [m.register_forward_hook(scaled), m.register_forward_pre_hook(shifted)],
    "in place": lambda m: m[3].register_forward_hook(in_place),
    "partial": lambda m: m[3].register_forward_hook(functools.partial(scaled)),
    "keywords": lambda m: [m[3].register_forward_hook(keyword_out, with_kwargs=True),
                           m[3].register_forward_pre_hook(keyword_in, with_kwargs=True)],
}  # fmt: skip


@torch.no_grad()
def same(found: Cut, model: nn.Module) -> None:
    torch.testing.assert_close(found.graph(images()), model.eval()(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrap", [nn.Sequential, Looking], ids=["torch.fx", "torch.export"])
@pytest.mark.parametrize("name", ACTING)
def test_what_a_hook_does_is_in_the_quantized_network(name: str, wrap: Callable[..., nn.Module]) -> None:
    net = network()
    ACTING[name](net)
    model = wrap(net)
    found = cut(model, input_shape=SHAPE)
    same(found, model)
    assert found.route == ("torch.fx" if wrap is nn.Sequential else "torch.export")
    assert any("is part of the graph" in note and "hook" in note for note in found.notes)
    low = QuantizedNetwork(found.graph, found.units, BitsConfig(weight=8, activation=32)).model
    assert list(low.modules()) and not any(part._forward_hooks for part in low.modules())


def test_a_hook_that_overwrites_past_autograd() -> None:
    net = network()
    net[3].register_forward_hook(past_autograd)
    same(cut(net, input_shape=SHAPE), net)
    with pytest.raises(GraphError, match=r"it has hooks: net.3 \(Conv2d\): its forward hook past_autograd"):
        cut(Looking(net), input_shape=SHAPE)  # torch.export does not follow it


def test_hooks_of_containers_are_followed() -> None:
    net = network()
    model = nn.Sequential(net[:3], net[3:])
    model[0].register_forward_hook(scaled)
    same(cut(model, input_shape=SHAPE), model)


def test_a_parameter_that_a_hook_reads_stays() -> None:
    net = network()
    net[3].gain = nn.Parameter(torch.rand(8, 1, 1))
    net[3].register_forward_hook(lambda layer, args, out: out.relu() * layer.gain)  # alone it would be folded
    found = cut(net, input_shape=SHAPE)
    same(found, net)
    (left,) = found.unquantized
    assert (left.name, left.reason, left.parameters) == ("3.gain", "parameter in an operation of its own", 8)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def keep(self, layer: nn.Module, args: Any, out: Tensor) -> None:
        self.seen.append(out)

    def largest(self, layer: nn.Module, args: Any, out: Tensor) -> None:
        if torch.isnan(out).any():
            raise ValueError("NaN")
        self.seen = [max([*self.seen, float(out.detach().abs().max())])]


def test_hooks_that_look_are_left_out_and_see_no_tracer() -> None:
    net, seen = network(), []
    net[3].register_forward_hook(lambda layer, args, out: seen.append(out.detach()))
    net[0].register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    net[1].register_forward_hook(Recorder().largest)
    net[2].register_forward_hook(Recorder().keep)
    found = cut(net, input_shape=SHAPE)
    assert seen and all(type(value) is Tensor for value in seen)
    assert sum("changes no value and is left out" in note for note in found.notes) == 4
    before = len(seen)
    found.graph(images())
    assert len(seen) == before, "a hook fires in the copy"
    net(images())
    assert len(seen) == before + 2, "the user's hooks are gone"


def test_a_hook_on_the_gradient_does_not_matter() -> None:
    net = network()
    net[3].register_full_backward_hook(lambda *_: None)
    net.register_full_backward_hook(lambda *_: None)
    same(cut(net, input_shape=SHAPE), net)


def gate(layer: nn.Module, args: Any, out: Tensor) -> Tensor | None:
    return out * 2 if out.mean() > 100 else None


def own_largest(layer: nn.Module, args: Any, out: Tensor) -> Tensor:
    return out / float(out.abs().max())


@pytest.mark.parametrize("hook", [gate, own_largest])
def test_a_hook_that_depends_on_values_is_refused_by_name(hook: Callable[..., Any]) -> None:
    net = network()
    net[3].register_forward_hook(hook)
    with pytest.raises(GraphError) as refused:
        cut(net, input_shape=SHAPE)
    said = str(refused.value)
    assert said.startswith(f"3 (Conv2d): its forward hook {hook.__name__} cannot be followed (")
    assert "\n" not in said and said.endswith("remove it, or make what it does a module of the model")


def test_a_hook_for_all_modules_that_changes_values_is_refused() -> None:
    handle = register_module_forward_hook(scaled)
    try:
        with pytest.raises(GraphError, match=r"or a hook does one of these .*scaled"):
            cut(network(), input_shape=SHAPE)
    finally:
        handle.remove()


def test_a_hook_for_all_modules_that_looks_sees_no_tracer() -> None:
    seen: list[Any] = []
    handle = register_module_forward_hook(lambda layer, args, out: seen.append(out))
    try:
        same(cut(net := network(), input_shape=SHAPE), net)
    finally:
        handle.remove()
    assert seen and all(isinstance(value, Tensor) for value in seen)


class EqualLR:
    """StyleGAN's scaled weights: a hook that torch knows nothing of."""

    def __call__(self, layer: Any, args: Any) -> None:
        layer.weight = layer.weight_orig * 0.3

    @staticmethod
    def on(layer: Any) -> None:
        weight = layer.weight
        del layer._parameters["weight"]
        layer.weight_orig = nn.Parameter(weight.data)
        layer.register_forward_pre_hook(EqualLR())


def normed(net: nn.Sequential) -> None:
    nn.utils.weight_norm(net[0], dim=None)
    nn.utils.weight_norm(net[3])
    nn.utils.spectral_norm(net[7])


def cut_back(net: nn.Sequential) -> None:
    prune.ln_structured(net[0], "weight", 0.3, n=2, dim=0)
    prune.l1_unstructured(net[3], "weight", 0.3)
    prune.random_unstructured(net[3], "weight", 0.2)  # a container of both
    prune.random_unstructured(net[3], "bias", 0.2)


COMPUTED: dict[str, Callable[[nn.Sequential], object]] = {
    "norms": normed,
    "pruned": cut_back,
    "unknown": lambda net: EqualLR.on(net[3]),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("used", [False, True], ids=["new", "trained"])
@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_hooks_compute_are_plain(name: str, used: bool) -> None:
    net = network()
    COMPUTED[name](net)
    if used:  # its weight has a history of gradients then, of which no copy can be made
        net.train()(images()).sum().backward()
    found = cut(net, input_shape=SHAPE)
    same(found, net)
    assert any(note.startswith("weights that hooks compute are plain weights:") for note in found.notes)
    for path in ("0", "3", "7"):
        assert set(dict(found.graph.get_submodule(path).named_parameters())) <= {"weight", "bias"}
        assert not list(found.graph.get_submodule(path).buffers())
    assert [unit.layers for unit in cut(net).units] == [unit.layers for unit in found.units]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_norm_that_was_removed_leaves_nothing() -> None:
    net = network()
    nn.utils.weight_norm(net[3])
    net(images())
    nn.utils.remove_weight_norm(net[3])
    found = cut(net, input_shape=SHAPE)
    same(found, net)
    assert not found.notes


def test_a_weight_that_follows_from_the_image_is_refused() -> None:
    net = network()
    weight = net[3].weight
    del net[3]._parameters["weight"]
    net[3].register_parameter("weight_orig", nn.Parameter(weight.data))

    def dynamic(layer: Any, args: Any) -> None:
        layer.weight = layer.weight_orig * args[0].mean()

    net[3].register_forward_pre_hook(dynamic)
    with pytest.raises(GraphError, match=r"3 \(Conv2d\): its forward pre-hook .*dynamic"):
        cut(net, input_shape=SHAPE)
