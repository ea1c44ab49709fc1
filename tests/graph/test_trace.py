import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mrecg.errors import GraphError
from mrecg.graph.fold import fold
from mrecg.graph.shapes import output_shapes
from mrecg.graph.trace import trace

F64 = torch.float64
Randomise = Callable[[nn.Module], nn.Module]


class Net(nn.Module):
    """A network whose forward is given, with the usual layers at hand."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def modules(traced: fx.GraphModule, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[nn.Module]:
    return [part for part in traced.modules() if isinstance(part, kind)]


FOLDS: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...]]] = {
    "conv_bias": (lambda: [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)], (2, 3, 8, 8)),
    "conv_no_bias": (lambda: [nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)], (2, 3, 8, 8)),
    "depthwise": (lambda: [nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8)], (2, 4, 8, 8)),
    "conv1d": (lambda: [nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)], (2, 3, 8)),
    "conv3d": (lambda: [nn.Conv3d(2, 5, 2), nn.BatchNorm3d(5)], (2, 2, 4, 4, 4)),
    "linear": (lambda: [nn.Linear(6, 5), nn.BatchNorm1d(5)], (3, 6)),
    "linear_no_bias_no_affine": (
        lambda: [nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, affine=False)],
        (3, 6),
    ),
    "transpose": (lambda: [nn.ConvTranspose2d(3, 5, 3, stride=2), nn.BatchNorm2d(5)], (2, 3, 5, 5)),
    "transpose_grouped": (
        lambda: [nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)],
        (2, 4, 5, 5),
    ),
    "transpose_depthwise": (lambda: [nn.ConvTranspose2d(4, 4, 2, groups=4), nn.BatchNorm2d(4)], (2, 4, 5, 5)),
    "through_identity": (
        lambda: [nn.Conv2d(3, 5, 3), nn.Identity(), nn.BatchNorm2d(5), nn.Dropout2d()],
        (2, 3, 8, 8),
    ),
    "no_affine": (lambda: [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False)], (2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", FOLDS)
@torch.no_grad()
def test_batch_norm_folds(name: str, randomised: Randomise) -> None:
    layers, shape = FOLDS[name]
    model = randomised(nn.Sequential(*layers()).to(F64))
    x = torch.randn(shape, dtype=F64)
    traced = trace(model).graph
    assert not modules(traced, nn.modules.batchnorm._BatchNorm)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    torch.testing.assert_close(traced(x), model(x), rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_tied_weights_are_folded_apart(randomised: Randomise) -> None:
    a, b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    b.weight = a.weight
    model = randomised(nn.Sequential(a, nn.BatchNorm2d(3), b, nn.BatchNorm2d(3)).to(F64))
    x = torch.randn(2, 3, 4, 4, dtype=F64)
    torch.testing.assert_close(trace(model).graph(x), model(x), rtol=1e-9, atol=1e-12)


KEPT: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "before the conv": lambda m, x: m.conv2(torch.relu(m.norm(m.conv(x).sigmoid()))),
    "value used twice": lambda m, x: (y := m.conv(x)) + m.norm(y),
}


@pytest.mark.parametrize("name", KEPT)
@torch.no_grad()
def test_batch_norm_that_cannot_be_folded_stays(name: str, randomised: Randomise) -> None:
    model = randomised(Net(KEPT[name]).to(F64))
    x = torch.randn(2, 3, 6, 6, dtype=F64)
    traced = trace(model).graph
    assert len(modules(traced, nn.BatchNorm2d)) == 1
    assert fold(traced) == ["norm"]
    torch.testing.assert_close(traced(x), model(x), rtol=1e-12, atol=0)


@torch.no_grad()
def test_batch_norm_without_statistics_stays() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(trace(model).graph(x), model(x))


@torch.no_grad()
def test_the_model_is_not_changed(randomised: Randomise) -> None:
    model = randomised(Net(lambda m, x: m.fc(m.relu(m.norm(m.conv(x))).mean((2, 3)))))
    model.train()
    before = copy.deepcopy(model)
    traced = trace(model).graph
    assert not traced.training and not any(p.requires_grad for p in traced.parameters())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert isinstance(model.relu, nn.ReLU) and model.relu.inplace and isinstance(model.norm, nn.BatchNorm2d)
    for (key, value), (_, expected) in zip(
        model.state_dict().items(), before.state_dict().items(), strict=True
    ):
        assert torch.equal(value, expected), key


INPLACE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "module": lambda m, x: m.relu(m.conv(x)),
    "iadd": lambda m, x: _iadd(y := m.conv(x), m.conv2(y.sin())),
    "imul": lambda m, x: _imul(y := m.conv(x), m.conv2(y.sin())),
    "methods": lambda m, x: m.conv(x).sub_(0.1).clamp_(0, 1).sigmoid_(),
    "torch_function": lambda m, x: torch.relu_(m.conv(x)),
    "functional": lambda m, x: F.leaky_relu_(m.conv(x), 0.2),
    "keyword": lambda m, x: F.relu(m.conv(x), inplace=True),
    "positional": lambda m, x: F.relu6(m.conv(x), True),
    # The overwritten tensor is read later, under its old name.
    "result_not_read": lambda m, x: _then(y := m.conv(x), y.relu_()),
    "module_result_not_read": lambda m, x: _then(y := m.conv(x), m.relu(y)),
    "old_name_in_shortcut": lambda m, x: (y := m.conv(x)) + m.conv2(m.relu(y)),
    "read_before": lambda m, x: (y := m.conv(x)).exp() + m.relu(y),
}


def _iadd(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


def _imul(a: Tensor, b: Tensor) -> Tensor:
    a *= b
    return a


def _then(value: Tensor, _: Tensor) -> Tensor:
    return value


@pytest.mark.parametrize("name", INPLACE)
@torch.no_grad()
def test_in_place_operations_are_replaced(name: str) -> None:
    model = Net(INPLACE[name]).eval()
    x = torch.randn(2, 3, 6, 6)
    traced = trace(model).graph
    torch.testing.assert_close(traced(x), model(x))
    values: list[tuple[Tensor, Tensor]] = []

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                values.append((value, value.clone()))
            return value

    Watch(traced).run(x)
    assert all(torch.equal(value, at_first) for value, at_first in values)


@torch.no_grad()
def test_dropout_is_taken_out() -> None:
    model = Net(lambda m, x: m.fc(F.dropout(m.conv(x), 0.5, m.training).mean((2, 3)))).eval()
    traced = trace(model).graph
    assert not any("dropout" in node.name for node in traced.graph.nodes)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(traced(x), model(x))


def test_dropout_that_is_always_on_stays() -> None:
    traced = trace(Net(lambda m, x: F.dropout(m.conv(x), 0.5))).graph
    assert any("dropout" in node.name for node in traced.graph.nodes)


def _branch(m: Any, x: Tensor) -> Tensor:
    if x.sum() > 0:  # the line to be named
        return m.conv(x)  # type: ignore[no-any-return]
    return x


def test_control_flow_on_the_input_names_the_line() -> None:
    with pytest.raises(GraphError, match=r"Net cannot be traced.*test_trace\.py:\d+: if x\.sum\(\) > 0"):
        trace(Net(_branch))


WRONG: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "dynamic conv": (
        lambda m, x: F.conv2d(m.conv(x), m.conv2.weight * x.mean()),
        "weights that depend on the",
    ),
    "no weight layer": (lambda m, x: x.relu(), "no convolution or linear layer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_unsupported_models_are_refused(name: str) -> None:
    run, message = WRONG[name]
    with pytest.raises(GraphError, match=message) as error:
        trace(Net(run))
    assert "\n" not in str(error.value) and str(error.value).startswith("Net")


def test_two_inputs_are_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(GraphError, match="Two has 2 inputs"):
        trace(Two())


def test_output_shapes() -> None:
    traced = trace(Net(lambda m, x: m.fc(m.conv(x).mean((2, 3))))).graph
    shapes = output_shapes(traced, (3, 8, 8))
    assert list(shapes.values()) == [(3, 8, 8), (4, 6, 6), (4,), (2,), (2,)]
