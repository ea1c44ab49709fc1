from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mrecg.graph.cut import cut
from mrecg.graph.unit_facts import UnitFacts


def facts(model: nn.Module, shape: tuple[int, ...] | None, granularity: str = "block") -> list[UnitFacts]:
    return [unit.facts for unit in cut(model, granularity, input_shape=shape).units]


def test_a_residual_block_by_hand() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.fc = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.stem(x))
            x = x + torch.relu(self.conv(x))
            out: Tensor = self.fc(x.mean((2, 3)))
            return out

    stem, block, head = facts(Block(), (3, 8, 8), "layer")
    assert stem.macs == 4 * 4 * (4 * 3 * 9) and stem.activations == 3 * 64 + 2 * 4 * 16
    assert block.macs == 16 * 4 * 9 and block.activations == 4 * 16 + 3 * 4 * 16
    assert head.macs == 20 and head.activations == 4 * 16 + 4 + 5
    assert [layer.macs for layer in head.layers] == [head.macs]


def test_a_transposed_convolution_works_at_each_place_of_its_input() -> None:
    (unit,) = facts(nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2)), (2, 4, 4))
    assert unit.macs == 16 * 2 * 3 * 4 and unit.activations == 2 * 16 + 3 * 64


def test_a_linear_layer_works_at_each_token() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 7)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2).reshape(-1, 3)  # all images' tokens in one dimension
            out: Tensor = self.fc(tokens).reshape(-1, 16, 7)
            return out

    (unit,) = facts(Tokens(), (3, 4, 4))
    assert unit.macs == 16 * 21


def test_a_squeeze_does_not_take_the_images_away() -> None:
    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(self.conv(x).mean((2, 3), keepdim=True).squeeze())
            return out.unsqueeze(0).transpose(0, 1).flatten(1)

    assert sum(unit.macs for unit in facts(Squeeze(), (3, 5, 5))) == 9 * 4 * 27 + 8


def test_without_a_shape_nothing_is_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    assert all(unit.macs == unit.activations == 0 for unit in facts(model, None))
    assert all(unit.macs > 0 and unit.activations > 0 for unit in facts(model, (3, 5, 5)))


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet18", 1814), ("mobilenet_v2", 301), ("densenet121", 2834)]
)
def test_networks_do_the_work_that_is_known_of_them(
    name: str, millions: int, model_of: Callable[[str], nn.Module]
) -> None:
    # DenseNet's units are cut by packing, after which all shapes are taken anew.
    units = facts(model_of(name), (3, 224, 224))
    assert sum(unit.macs for unit in units) / 1e6 == pytest.approx(millions, rel=0.005)
    assert all(unit.activations > 0 for unit in units)
