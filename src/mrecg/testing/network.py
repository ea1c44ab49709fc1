"""A small network for checks: five units with every kind of layer that methods tell apart."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrecg.config.schema import BitsConfig, CalibrationConfig
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.calibrate import calibrate

UNITS = ("stem", "first", "second", "third", "head")


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.down(x))


class _Inverted(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(functional.relu6(self.depthwise(functional.relu6(self.expand(x)))))
        return x + out


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.first, self.second, self.third = _Residual(4, 4, 1), _Residual(4, 8, 2), _Inverted(8)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(self.stem(x))))
        out: Tensor = self.head(self.pool(x).flatten(1))
        return out


def images() -> Tensor:
    """Make sixteen images of shape (16, 3, 8, 8), always the same."""
    made = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return made.contiguous(memory_format=torch.channels_last)


def network(**bits: Any) -> QuantizedNetwork:
    """Make the network, always the same, cut into `UNITS` and calibrated.

    Args:
        **bits: Keys of the group ``bits``; weights and activations have 3 bits where they are not given.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        traced = trace(_Network().eval()).graph
    config = BitsConfig(**{"weight": 3, "activation": 3, **bits})
    made = QuantizedNetwork(traced, partition(traced), config).to(torch.device("cpu"))
    for _ in calibrate(made, images(), CalibrationConfig(bins=128, candidates=8), batch=16):
        pass
    return made
