import io
import threading
from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from brought import SHAPE, Looking, images, network
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mrecg.config.schema import BitsConfig
from mrecg.errors import DataError, GraphError
from mrecg.graph.cut import Cut, cut
from mrecg.graph.intake import unwrap
from mrecg.quant.quantized_network import QuantizedNetwork


@torch.no_grad()
def same(found: Cut, model: nn.Module) -> None:
    with torch.compiler.set_stance("force_eager"):
        expected = model.eval()(images())
    torch.testing.assert_close(found.graph(images()), expected, rtol=1e-4, atol=1e-5)


class Average(nn.Module):
    """An average for evaluation that has no forward, like timm's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model


class Task(lightning.LightningModule):
    """Only trains."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.loss = net, nn.CrossEntropyLoss()

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self.loss(self.net(batch[0]), batch[1])


class Forward(lightning.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


WRAPPERS: dict[str, tuple[Callable[[nn.Module], nn.Module], list[str]]] = {
    "DataParallel": (nn.DataParallel, ["DataParallel"]),
    "average": (AveragedModel, ["AveragedModel"]),
    "compiled": (torch.compile, ["OptimizedModule"]),
    "nested": (
        lambda net: torch.compile(nn.DataParallel(AveragedModel(net))),
        ["OptimizedModule", "DataParallel", "AveragedModel"],
    ),
    "no forward": (Average, ["Average"]),
    "Lightning": (Task, ["Task"]),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_taken_off(name: str) -> None:
    wrap, kinds = WRAPPERS[name]
    net = network()
    found = cut(wrap(net), input_shape=SHAPE)
    same(found, net)
    assert [unit.layers for unit in found.units] == [unit.layers for unit in cut(network()).units]
    assert [note.partition(" is only a wrapper: the ")[0] for note in found.notes] == kinds
    assert found.notes[-1].partition("the ")[2].startswith("Sequential in its .")


def scaled(layer: nn.Module, args: Any, out: Tensor) -> Tensor:
    return out * 2 + 1


class Through(nn.Module):
    """Reaches into a wrapper."""

    def __init__(self) -> None:
        super().__init__()
        net = network()
        self.stem, self.rest = nn.DataParallel(net[:3]), torch.compile(net[3:])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem.module[2](self.stem.module[1](self.stem.module[0](x)))
        return self.rest[1:](self.rest[0](x)) if torch.compiler.is_exporting() else self.rest(x)


def compiled_in_place() -> nn.Module:
    net = network()
    net.compile()
    return net


def hooked() -> nn.Module:
    model = nn.DataParallel(network())
    model.register_forward_hook(scaled)
    return model


class Function(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        net = network()
        self.stem, self.rest = net[:3], net[3:]
        self.act = torch.compile(lambda x: F.relu(x) + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.act(self.stem(x)))


INSIDE: dict[str, Callable[[], nn.Module]] = {
    "parts": lambda: nn.Sequential(torch.compile(network()[:3]), nn.DataParallel(network()[3:])),
    "reached into": Through,
    "compiled in place": compiled_in_place,
    "a wrapper with a hook": hooked,
    "a compiled function": Function,
    "with a forward": lambda: Forward(network()),
    "a graph": lambda: torch.fx.symbolic_trace(network().eval()),
    "exported": lambda: torch.export.export(
        network().eval(), (images(),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    ).module(),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_stays_inside_is_followed(name: str) -> None:
    model = INSIDE[name]()
    found = cut(model, input_shape=SHAPE)
    nn.Module.train(model, mode=False)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(found.graph(images()), model(images()), rtol=1e-4, atol=1e-5)


def with_options(forward: Callable[..., Tensor]) -> nn.Module:
    net = network()
    kind = type("Net", (nn.Module,), {"forward": forward})
    model: nn.Module = kind()
    model.net = net
    return model


TWO = torch.full((1,), 2.0)
OPTIONS: dict[str, Callable[..., Tensor]] = {
    "keyword": lambda self, x, *, flag=False, **extra: self.net(x * 2 if flag or extra else x),
    "mask": lambda self, x, mask=None: self.net(x if mask is None else x * mask),
    "any": lambda self, *args: self.net(args[0] if len(args) == 1 else args[1]),
    "all": lambda self, *args, **kwargs: self.net(*args, **kwargs),
    "tensor": lambda self, x, gain=TWO: self.net(x * gain),
    "default": lambda self, x=None, *rest, flag=None: self.net(x),
}  # fmt: skip


@pytest.mark.parametrize("wrap", [nn.Sequential, Looking, lambda m: m], ids=["inside", "export", "whole"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_keep_their_defaults(name: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = wrap(with_options(OPTIONS[name]))
    same(cut(model, input_shape=SHAPE), model)


def test_any_number_of_arguments_is_exported() -> None:
    def forward(self: Any, *args: Tensor) -> Tensor:
        (x,) = args
        return self.net(x if x.shape[-1] % 4 == 0 else x[..., :-1])

    model = with_options(forward)
    found = cut(model, input_shape=SHAPE)
    assert found.route == "torch.export"
    same(found, model)


def scripted_part() -> nn.Module:
    net = network()
    net[3] = torch.jit.script(net[3])
    return net


def sparse() -> nn.Module:
    net = network()
    net[7].weight = nn.Parameter(net[7].weight.detach().to_sparse())
    return net


def with_attribute(value: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = network()
        net[3].extra = value
        return net

    return make


def quantized() -> nn.Module:
    parts = cut(network(), input_shape=SHAPE)
    return QuantizedNetwork(parts.graph, parts.units, BitsConfig()).model


def observed() -> nn.Module:
    net = network()
    net[0].register_module("observer", torch.ao.quantization.MinMaxObserver())
    return net


class Holder:
    def __init__(self) -> None:
        self.ema = network()


SCRIPTED = "is a scripted or traced module (torch.jit), which has no Python code to follow; pass the module "
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "scripted": (lambda: torch.jit.script(network()), f"RecursiveScriptModule {SCRIPTED}"),
    "traced": (lambda: torch.jit.trace(network().eval(), images()), f"TopLevelTracedModule {SCRIPTED}"),
    "scripted part": (scripted_part, f"Sequential.3 {SCRIPTED}"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyConv2d(4, 3)),
        "Sequential.0 (LazyConv2d) has no weight yet; run the model on an image first",
    ),
    "sparse": (sparse, "Sequential.7 (Linear) has a sparse weight; make it dense first (to_dense())"),
    "lock": (
        with_attribute(threading.Lock()),
        "Sequential.3: its attribute 'extra' (lock) cannot be copied (cannot pickle '_thread.lock' object); "
        "quantization works on a copy: remove it from the model, or give Conv2d a __deepcopy__",
    ),
    "generator": (
        with_attribute(i for i in range(3)),
        "Sequential.3: its attribute 'extra' (generator) cannot be copied",
    ),
    "file": (
        with_attribute([io.TextIOWrapper(io.BytesIO())]),
        "Sequential.3: its attribute 'extra' (list) cannot be copied (cannot pickle '_io.TextIOWrapper'",
    ),
    "quantized": (
        quantized,
        "GraphModule.0 (QuantizedLayer) is quantized already; pass the model in floating",
    ),
    "observed": (
        observed,
        "Sequential.0.observer (MinMaxObserver) is a part of another quantization; pass the model as it was",
    ),
    "program": (
        lambda: torch.export.export(network().eval(), (images(),)),
        "model: an ExportedProgram is not an nn.Module; pass what its .module() returns",
    ),
    "class": (lambda: nn.Linear, "model: Linear is a class; pass an object of it with its weights"),
    "state": (
        lambda: network().state_dict(),
        "model: OrderedDict is not an nn.Module; load it into one with",
    ),
    "holder": (Holder, "model: Holder is not an nn.Module; pass its .ema"),
    "several parts": (
        lambda: nn.ModuleDict({"a": network(), "b": network()}),
        "ModuleDict has no forward; pass the part that is the network (.a, .b)",
    ),
    "two inputs": (
        lambda: with_options(lambda self, x, y: self.net(x + y)),
        "Net has 2 inputs (x, y); only models with one input tensor are supported",
    ),
    "keyword only": (
        lambda: with_options(lambda self, *, x: self.net(x)),
        "Net takes x as a keyword only; its images have to be positional",
    ),
    "no input": (lambda: with_options(lambda self: self.net(images())), "Net has 0 inputs; only models"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(name: str) -> None:
    make, said = REFUSED[name]
    model = make()
    with pytest.raises(GraphError) as refused:
        cut(model, input_shape=SHAPE)
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_a_program_for_one_number_of_images_is_refused() -> None:
    model = torch.export.export(network().eval(), (images(3),)).module()
    with pytest.raises(DataError, match=r"Guard failed: .*== 3"):
        cut(model, input_shape=SHAPE)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_scripted_activation_is_called_as_it_is() -> None:
    net = network()
    net[4] = torch.jit.script(nn.Hardswish())
    same(cut(net, input_shape=SHAPE), net)


def test_what_was_computed_or_made_in_inference_mode_is_copied() -> None:
    net = network()
    net[3].kept = [{"value": net[3].weight * 2}]
    same(cut(net, input_shape=SHAPE), net)
    with torch.inference_mode():
        net = network()
        found = cut(net, input_shape=SHAPE)
    same(found, net)
    assert not any(value.is_inference() for value in (*found.graph.parameters(), *found.graph.buffers()))


def test_a_forward_that_was_replaced_is_followed() -> None:
    net = network()
    layer: Any = net[3]
    layer.forward = lambda x: F.conv2d(x, layer.weight * 2, layer.bias)
    same(cut(net, input_shape=SHAPE), net)


@pytest.mark.parametrize("kind", ["ModelEmaV2", "ModelEmaV3"])
def test_timms_averages_are_taken_off_with_a_note(kind: str) -> None:
    utils = pytest.importorskip("timm.utils")
    inside, notes = unwrap(getattr(utils, kind)(nn.Sequential(nn.Conv2d(3, 2, 1))))
    assert type(inside) is nn.Sequential
    assert notes == [f"{kind} is only a wrapper: the Sequential in its .module is quantized"]
