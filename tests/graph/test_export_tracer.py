from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.errors import DataError, GraphError
from mrecg.graph.cut import cut
from mrecg.graph.trace import trace


class Block(nn.Module):
    """A residual block that looks at the size of its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:  # the line to be named
            x = F.pad(x, (0, 1, 0, 1))
        y = self.norm(self.conv(x)).relu_()
        y = F.hardswish(self.depthwise(y))
        y += x
        return y


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.drop, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Dropout(0.1), nn.Linear(8, 5)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = F.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.fc(self.drop(F.adaptive_avg_pool2d(x, 1).view(batch, -1)))
        return out


@torch.no_grad()
def test_what_torch_fx_cannot_follow_is_exported(randomised: Callable[[nn.Module], nn.Module]) -> None:
    model = randomised(Branching())
    found = cut(model, input_shape=(3, 16, 16))
    assert found.route == "torch.export"
    (note,) = found.notes
    assert "torch.fx" in note and "test_export_tracer.py:" in note and "if x.shape[-1] % 2:" in note
    assert [unit.name for unit in found.units] == ["stem", "blocks.0", "blocks.1", "fc"]
    assert found.units[1].layers == ("blocks.0.conv", "blocks.0.depthwise")
    assert found.units[1].facts.residual and found.units[1].facts.layers[1].kind == "depthwise"
    assert not found.unquantized
    x = torch.randn(5, 3, 16, 16)
    before = x.clone()
    torch.testing.assert_close(found.graph(x), model(x))
    assert torch.equal(x, before)


def test_without_a_shape_the_error_names_the_line() -> None:
    with pytest.raises(
        GraphError, match=r"^Branching cannot be traced by torch\.fx: .*if x\.shape\[-1\] % 2:"
    ):
        trace(Branching())


class OnValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        if y.sum() > 0:
            return y
        return -y


def test_what_neither_can_follow_is_refused_with_both_reasons(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GraphError) as error:
        trace(OnValues(), (3, 8, 8))
    message = str(error.value)
    assert "\n" not in message and "torch.fx: " in message and "torch.export: " in message
    assert "if y.sum() > 0:" in message
    assert capfd.readouterr() == ("", "")  # the exporter prints the graph that it has


class ThroughAView(nn.Module):
    """Overwrites a part of a tensor, which torch.fx's graph loses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        part = y[:, :2]
        part.mul_(0.0)
        out: Tensor = self.conv2(y)
        return out


@torch.no_grad()
def test_a_graph_that_computes_something_else_is_not_used() -> None:
    model = ThroughAView()
    found = trace(model, (3, 8, 8))
    assert found.route == "torch.export" and "gives other outputs" in found.notes[0]
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(found.graph(x), model(x))


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(x), 0.5)


def test_a_model_that_draws_is_refused() -> None:
    with pytest.raises(GraphError, match="gives other outputs than the model"):
        trace(Random(), (3, 8, 8))


def test_images_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match=r"the model does not take images of shape \(1, 8, 8\): .*channels"):
        trace(Random(), (1, 8, 8))
