"""Quantized networks of every kind of layer, small."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import mrecg

Make = Callable[..., mrecg.Result]


class Kinds(nn.Module):
    """A stem, a depthwise block with a residual sum, a grouped and a transposed convolution, a linear head.

    Without biases in places, with ReLU, ReLU6, signed activations and a pool.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.ReLU())
        self.project = nn.Conv2d(16, 8, 1)
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False), nn.SiLU())
        self.transposed = nn.Sequential(nn.ConvTranspose2d(8, 6, 2, stride=2), nn.ReLU())
        self.hidden = nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU())
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        x = self.transposed(self.grouped(x))
        return self.head(self.hidden(x.mean((2, 3))))


@cache
def _model() -> nn.Module:
    torch.manual_seed(5)
    model = Kinds().eval()
    nn.init.uniform_(model.expand[1].running_var, 0.5, 1.5)
    return model


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Forty 8 x 8 images."""
    return torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def kinds() -> nn.Module:
    """The full-precision network; not to be changed."""
    return _model()


@pytest.fixture(scope="session")
def make(images: Tensor) -> Make:
    """Quantize it, rounding to nearest."""

    def quantized(weight: int = 4, activation: int = 4, **bits: object) -> mrecg.Result:
        return mrecg.quantize(
            _model(),
            images,
            method="rtn",
            granularity="block",
            steps=1,
            progress=False,
            bits={"weight": weight, "activation": activation, **bits},
            calibration={"candidates": 8, "bins": 128},
            trainer={"batch_size": 4, "device": "cpu"},
        )

    return quantized
