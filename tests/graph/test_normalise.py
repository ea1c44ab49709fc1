from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from mrecg.errors import GraphError
from mrecg.graph.cut import cut
from mrecg.graph.trace import trace


class Net(nn.Module):
    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.norm = nn.BatchNorm2d(4)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _size_at_the_start(m: Any, x: Tensor) -> Tensor:
    batch = x.shape[0]
    out: Tensor = m.fc(m.conv2(m.conv(x)).mean((2, 3)).view(batch, -1))
    return out


def _shape_at_the_start(m: Any, x: Tensor) -> Tensor:
    shape = x.size()
    y = m.conv2(m.conv(x))
    y = F.interpolate(y, size=shape[2:])
    out: Tensor = m.fc(y.mean((2, 3)).reshape(shape[0], 4))
    return out


def _twice_the_batch(m: Any, x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    y = m.conv(x)
    out: Tensor = m.fc(m.conv2(y[..., :half]).mean((2, 3)))
    return out


@pytest.mark.parametrize("run", [_size_at_the_start, _shape_at_the_start, _twice_the_batch])
@torch.no_grad()
def test_a_size_read_early_and_used_late_does_not_stand_in_the_way_of_a_cut(
    run: Callable[[Any, Tensor], Tensor],
) -> None:
    model = Net(run)
    found = cut(model, "layer", input_shape=(3, 8, 8))
    assert [unit.name for unit in found.units] == ["conv", "conv2", "fc"]
    for images in (1, 5):
        x = torch.randn(images, 3, 8, 8)
        torch.testing.assert_close(found.graph(x), model(x))


class State(nn.Module):
    """Makes zeros for each image at the start, and adds them at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 4, device=x.device)
        wide = (state + 1).expand(x.shape[0], 4)
        out: Tensor = self.fc(self.conv2(self.conv(x)).mean((2, 3)) + state * wide)
        return out


@torch.no_grad()
def test_a_tensor_that_follows_from_sizes_does_not_stand_in_the_way_of_a_cut() -> None:
    model = State()
    found = cut(model, "layer", input_shape=(3, 8, 8))
    assert [unit.layers for unit in found.units] == [("conv",), ("conv2",), ("fc",)]
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(found.graph(x), model(x))


class Deformable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.offset, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 18, 3, 1, 1), nn.Linear(8, 5)
        self.deformed = DeformConv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        out: Tensor = self.head(F.relu(self.deformed(x, self.offset(x))).mean((2, 3)))
        return out


@torch.no_grad()
def test_a_deformable_convolution_stays_in_floating_point_and_is_listed() -> None:
    model = Deformable()
    found = cut(model, input_shape=(3, 16, 16))
    assert [name for unit in found.units for name in unit.layers] == ["a", "offset", "head"]
    reason = "parameter in an operation of its own"
    left = [(part.name, part.reason) for part in found.unquantized]
    assert left == [("deformed.weight", reason), ("deformed.bias", reason)]
    x = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(found.graph(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_size_that_is_read_where_it_is_used_stays_free() -> None:
    model = Net(lambda m, x: m.fc((y := m.conv(x)).view(y.shape[0], 4, y.shape[2] * y.shape[3]).mean(2)))
    graph = trace(model, (3, 8, 8)).graph
    assert graph(torch.randn(1, 3, 12, 9)).shape == (1, 2)


@torch.no_grad()
def test_a_shared_layer_gets_a_layer_a_call(randomised: Callable[[nn.Module], nn.Module]) -> None:
    model = randomised(Net(lambda m, x: m.fc(m.norm(m.conv2(m.norm(m.conv2(m.conv(x))))).mean((2, 3)))))
    found = trace(model, (3, 8, 8))
    assert found.notes == ("conv2 is called 2 times: each call is quantized on its own",)
    assert {"conv2", "conv2_call2"} < {name for name, _ in found.graph.named_modules()}
    assert not [part for part in found.graph.modules() if isinstance(part, nn.BatchNorm2d)]
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(found.graph(x), model(x))


def test_checks_are_taken_out() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        torch._assert(x.shape[1] == 3, "three channels")
        out: Tensor = m.fc(m.conv(x).detach().mean((2, 3)))
        return out

    graph = trace(Net(run), (3, 8, 8)).graph.graph
    assert [node.name for node in graph.nodes] == ["x", "conv", "mean", "fc", "output"]


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
        y: Tensor = self.conv(x) * scale
        return y if mask is None else y * mask


@torch.no_grad()
def test_options_keep_their_defaults() -> None:
    model = Optional()
    found = trace(model, (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    assert found.route == "torch.fx"
    torch.testing.assert_close(found.graph(x), model(x))


class SizedPad(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1, 0, 1)) if x.shape[-1] % 2 else x


class WithPad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pad, self.conv = nn.Conv2d(3, 4, 3, 2), SizedPad(), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.pad(self.stem(x)))
        return out


@torch.no_grad()
def test_a_weightless_module_that_stops_the_tracer_is_kept_whole() -> None:
    model = WithPad()
    found = cut(model, "layer", input_shape=(3, 16, 16))
    assert found.route == "torch.fx" and "pad (SizedPad) is kept whole" in found.notes[0]
    assert [unit.name for unit in found.units] == ["stem", "conv"]
    x = torch.randn(2, 3, 14, 14)
    torch.testing.assert_close(found.graph(x), model(x))


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y, y.mean()


def test_an_output_that_is_no_value_of_each_image_is_refused() -> None:
    with pytest.raises(GraphError, match=r"Pairs: its output 1 has shape \(\) for 3 images"):
        trace(Pairs(), (3, 8, 8))
