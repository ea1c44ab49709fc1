import pytest
import torch
from torch import Tensor, fx, nn

from mrecg.graph.cut import Cut, cut


class DenseLayer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 3, 3, padding=1)

    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.relu(self.conv(torch.cat(parts, 1)))


class DenseBlock(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(4 + 3 * i) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.layers:
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class DenseNet(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3), DenseBlock(layers)
        self.head = nn.Conv2d(4 + 3 * layers, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(torch.relu(self.stem(x)))).mean((2, 3))
        return out


class Pyramid(nn.Module):
    """Two resolutions at once, mixed at every step: no single tensor, and no common size."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.fine = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(steps))
        self.coarse = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(steps))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.stem(x))
        b = self.down(a)
        for fine, coarse in zip(self.fine, self.coarse, strict=True):
            a, b = torch.relu(fine(a)) + nn.functional.interpolate(b, scale_factor=2.0), torch.relu(coarse(b))
        out: Tensor = self.head(a.mean((2, 3)) + b.mean((2, 3)))
        return out


def reassembled(found: Cut, x: Tensor) -> Tensor:
    """Run unit after unit, each with nothing but the output of the one before."""
    nodes = {node.name: node for node in found.graph.graph.nodes}
    for unit in found.units:
        graph, env = fx.Graph(), {}
        env[nodes[unit.input]] = graph.placeholder("x")
        for name in unit.nodes:
            env[nodes[name]] = graph.node_copy(nodes[name], env.__getitem__)
        graph.output(env[nodes[unit.output]])
        x = fx.GraphModule(found.graph, graph)(x)
    return x


@pytest.mark.parametrize(("layers", "limit"), [(5, 2), (5, 3), (8, 2), (8, 3)])
@torch.no_grad()
def test_a_dense_block_is_cut_between_its_layers(layers: int, limit: int) -> None:
    model = DenseNet(layers)
    whole = cut(model, input_shape=(3, 8, 8))
    assert [len(unit.layers) for unit in whole.units] == [1, layers, 1] and not whole.notes
    found = cut(model, input_shape=(3, 8, 8), max_unit_layers=limit)
    sizes = [len(unit.layers) for unit in found.units]
    assert max(sizes) <= limit and sum(sizes) == layers + 2 and len(sizes) == 2 + -(-layers // limit)
    assert [layer for unit in found.units for layer in unit.layers] == [
        "stem", *(f"block.layers.{i}.conv" for i in range(layers)), "head"
    ]  # fmt: skip
    (note,) = found.notes
    assert note.startswith(f"block has {layers} weight layers") and "max_unit_layers" in note
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(found.graph(x), model(x))
    torch.testing.assert_close(reassembled(found, x), model(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_tensors_of_several_sizes_leave_together() -> None:
    model = Pyramid(5)
    found = cut(model, input_shape=(3, 8, 8), max_unit_layers=4)
    assert max(len(unit.layers) for unit in found.units) <= 4
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(reassembled(found, x), model(x), rtol=1e-5, atol=1e-5)


def test_without_a_shape_a_large_unit_stays_and_says_so() -> None:
    found = cut(DenseNet(5), max_unit_layers=2)
    assert [len(unit.layers) for unit in found.units] == [1, 5, 1]
    assert found.notes[0].endswith("left whole, because model.input_shape is not set")
