from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from brought import Looking
from torch import Tensor, fx, nn

from mrecg.graph.cut import cut
from mrecg.graph.ops import WEIGHT_LAYERS
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace


class Bare(nn.Module):
    """Weights as parameters, used by functions."""

    def __init__(
        self, shape: tuple[int, ...], run: Callable[[Tensor, Tensor, Tensor], Tensor], bias: int
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.randn(bias))
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias)


def layers(traced: fx.GraphModule) -> list[nn.Module]:
    return [part for part in traced.modules() if isinstance(part, WEIGHT_LAYERS)]


FUNCTIONS: dict[str, tuple[tuple[int, ...], Callable[..., Tensor], tuple[int, ...], type[nn.Module]]] = {
    "conv1d": ((6, 4, 3), lambda x, w, b: F.conv1d(x, w, b, padding=1), (4, 9), nn.Conv1d),
    "conv2d": ((6, 4, 3, 3), F.conv2d, (4, 9, 9), nn.Conv2d),
    "keywords": (
        (6, 2, 3, 3),
        lambda x, w, b: F.conv2d(input=x, weight=w, stride=2, padding=1, dilation=2, groups=2),
        (4, 9, 9),
        nn.Conv2d,
    ),
    "same": ((6, 4, 3, 3), lambda x, w, b: F.conv2d(x, w, b, 1, "same"), (4, 9, 9), nn.Conv2d),
    "depthwise": ((6, 1, 3, 3), lambda x, w, b: F.conv2d(x, w, b, groups=6), (6, 9, 9), nn.Conv2d),
    "conv3d": ((6, 4, 2, 2, 2), lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1)), (4, 5, 5, 5), nn.Conv3d),
    "transposed": (
        (4, 3, 3, 3),
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2),
        (4, 5, 5),
        nn.ConvTranspose2d,
    ),
    "linear": ((6, 4), F.linear, (4,), nn.Linear),
    "matmul": ((4, 6), lambda x, w, b: x @ w, (4,), nn.Linear),
    "mm": ((6, 4), lambda x, w, b: torch.mm(x, w.t()), (4,), nn.Linear),
    "standardised": (
        (6, 4, 3, 3),
        lambda x, w, b: F.conv2d(x, (w - w.mean((1, 2, 3), True)) / w.std((1, 2, 3), keepdim=True), b),
        (4, 9, 9),
        nn.Conv2d,
    ),
    "sum of kernels": (
        (6, 4, 3, 3),
        lambda x, w, b: F.conv2d(x, w + F.pad(w[:, :, 1:2, 1:2], [1, 1, 1, 1]), b * 2),
        (4, 9, 9),
        nn.Conv2d,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@torch.no_grad()
def test_functions_with_weights_become_layers(name: str) -> None:
    shape, run, image, kind = FUNCTIONS[name]
    model = Bare(shape, run, bias=6)
    found = trace(model, image)
    (layer,) = layers(found.graph)
    assert type(layer) is kind and found.route == "torch.fx"
    assert not [node for node in found.graph.graph.nodes if node.op == "get_attr"]
    x = torch.randn(5, *image)
    torch.testing.assert_close(found.graph(x), model(x))


class Reparametrised(nn.Module):
    """A stem whose owner holds the weight itself, a BatchNorm as a function, and a shared weight."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.inner = Bare((4, 4, 1, 1), F.conv2d, bias=4)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        x = F.conv2d(x, self.kernel)
        x = F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, False, 0.1, n.eps)
        x = torch.relu(self.inner(torch.relu(x)))
        out: Tensor = self.fc(F.conv2d(x, self.inner.weight).mean((2, 3)))
        return out


@torch.no_grad()
def test_lifted_layers_have_the_paths_of_their_owners_and_batch_norms_fold(
    randomised: Callable[[nn.Module], nn.Module],
) -> None:
    model = randomised(Reparametrised())
    found = trace(model, (3, 8, 8))
    (unit, *_), names = partition(found.graph), [name for name, _ in found.graph.named_modules()]
    assert {"conv2d", "inner", "conv2d_2", "fc"} <= set(names) and unit.layers[0] == "conv2d"
    assert not [part for part in found.graph.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(found.graph(x), model(x))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        out: Tensor = self.fc((y @ y.transpose(2, 3)).mean((2, 3)))
        return out


def test_a_product_of_activations_stays() -> None:
    found = trace(Attention(), (3, 8, 8))
    assert len(layers(found.graph)) == 2
    assert any(node.name == "matmul" for node in found.graph.graph.nodes)


class Blur(nn.Module):
    """Resamples by a kernel that nothing learns."""

    def __init__(self, channels: int, run: Callable[..., Tensor]) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (row[:, None] * row / 16).expand(channels, 1, 3, 3).clone())
        self.register_buffer("single", (row[:, None] * row / 16)[None, None])
        self.channels, self.run = channels, run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def padded(blur: Blur, x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), blur.kernel, stride=2, groups=blur.channels)


BLURS: dict[str, Callable[[Blur, Tensor], Tensor]] = {
    "padded": padded,
    "alone": lambda blur, x: F.conv2d(x, blur.kernel, stride=2, groups=blur.channels),
    "twice": lambda blur, x: padded(blur, padded(blur, x)),
    "computed": lambda blur, x: F.conv2d(
        x, (blur.single / blur.single.sum()).repeat(blur.channels, 1, 1, 1), groups=blur.channels
    ),
    "up": lambda blur, x: F.conv_transpose2d(x, blur.kernel, stride=2, groups=blur.channels),
}


@pytest.mark.parametrize("place", ["inside", "on the image", "exported"])
@pytest.mark.parametrize("name", BLURS)
@torch.no_grad()
def test_a_fixed_filter_stays_in_floating_point_and_is_listed(name: str, place: str) -> None:
    channels = 3 if place == "on the image" else 6
    blur = Blur(channels, BLURS[name])
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1)]
    place_of = 0 if place == "on the image" else 2
    model = nn.Sequential(*layers[:place_of], blur, *layers[place_of:], nn.Flatten(), nn.Linear(6, 2)).eval()
    path = str(place_of)
    if place == "exported":
        model, path = Looking(model).eval(), f"net.{path}"
    found = cut(model, input_shape=(3, 16, 16))
    assert found.route == ("torch.export" if place == "exported" else "torch.fx")
    left = {(part.name, part.reason) for part in found.unquantized}
    assert left == {(path, "fixed filter: a buffer that resamples each channel")}
    assert len([name for unit in found.units for name in unit.layers]) == 3
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(found.graph(x), model(x), rtol=1e-4, atol=1e-5)


class Frozen(nn.Module):
    """A convolution whose author keeps its weights in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(6, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight)


class Two(nn.Module):
    """Two layers in one module, one of whose parameters has the name that a layer would get."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d, self.second = (
            nn.Parameter(torch.randn(4, 3, 3, 3)),
            nn.Parameter(torch.randn(6, 4, 1, 1)),
        )
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.relu(F.conv2d(x, self.conv2d)), self.second, self.bias)
        return x * self.bias.mean()


@pytest.mark.parametrize(("first", "paths"), [(Frozen, ["0"]), (Two, ["0.conv2d_2", "0.conv2d_3"])])
@torch.no_grad()
def test_functions_in_a_module_with_weights_of_its_own(first: type[nn.Module], paths: list[str]) -> None:
    model = nn.Sequential(first(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()
    found = cut(model, input_shape=(3, 9, 9))
    assert [name for unit in found.units for name in unit.layers] == [*paths, "4"]
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(found.graph(x), model(x), rtol=1e-4, atol=1e-5)
