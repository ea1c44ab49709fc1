"""Networks with linear bottlenecks, of random make: what a re-basis has to leave as it is."""

import random

import torch
from torch import Tensor, nn


class Inverted(nn.Module):
    """Expansion, depthwise convolution, linear projection; with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, make: random.Random) -> None:
        super().__init__()
        wide, norm = 2 * inputs, make.random() < 0.5
        activation = make.choice((nn.ReLU, nn.ReLU6, lambda: nn.Hardtanh(0.0, 1.5)))
        self.expand = nn.Conv2d(inputs, wide, 1, bias=make.random() < 0.5)
        self.norm = nn.BatchNorm2d(wide)
        self.first = activation()
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=make.random() < 0.5)
        self.second = activation()
        self.project = nn.Conv2d(wide, outputs, 1, bias=make.random() < 0.5)
        self.last = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.shortcut = inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.first(self.norm(self.expand(x)))
        out = self.last(self.project(self.second(self.depthwise(out))))
        return x + out if self.shortcut else out


class Bottlenecks(nn.Module):
    """A stem, a projection, inverted bottlenecks, a last expansion and a classifier."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        make = random.Random(seed)
        width, wider = make.choice((4, 6)), make.choice((6, 8))
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU())
        self.project = nn.Conv2d(8, width, 1, bias=make.random() < 0.5)
        widths = [width] * make.randint(1, 3) + [wider] * make.randint(1, 3)
        pairs = zip([width, *widths], widths, strict=False)
        self.blocks = nn.Sequential(*(Inverted(inputs, outputs, make) for inputs, outputs in pairs))
        self.last = nn.Conv2d(widths[-1], 12, make.choice((1, 3)), bias=make.random() < 0.5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear_head = make.random() < 0.5
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.blocks(self.project(self.depthwise(self.stem(x)))))
        return self.head(self.pool(x if self.linear_head else x.relu()).flatten(1))


def build(seed: int = 0, classes: int = 5) -> nn.Module:
    """Build a network; its weights and statistics are those of the seed, and so is its make."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Bottlenecks(seed, classes)
        for norm in (part for part in network.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight, 1, 0.3)
            nn.init.normal_(norm.bias)
    return network.eval()


def images(count: int = 16, seed: int = 1) -> Tensor:
    """Draw images of 8 x 8."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
