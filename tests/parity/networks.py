"""Networks of four units around the one that is looked at: stem, unit, tail, head; images of 8 x 8."""

import torch
from torch import Tensor, nn

from tests.references import units

WIDTH, CLASSES = 8, 5


def conv(inputs: int, outputs: int, kernel: int, *after: nn.Module, groups: int = 1) -> nn.Sequential:
    """Make a convolution with BatchNorm and perhaps an activation function."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), *after)


class Basic(nn.Module):
    """ResNet's basic block."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(WIDTH, WIDTH, 3, nn.ReLU()), conv(WIDTH, WIDTH, 3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.two(self.one(x)) + x)


class Inverted(nn.Module):
    """MobileNetV2's inverted residual with expansion 1.5."""

    def __init__(self) -> None:
        super().__init__()
        inner = WIDTH * 3 // 2
        self.expand = conv(WIDTH, inner, 1, nn.ReLU6())
        self.depthwise = conv(inner, inner, 3, nn.ReLU6(), groups=inner)
        self.project = conv(inner, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


def plain() -> nn.Module:
    """Make a convolution with BatchNorm and ReLU."""
    return conv(WIDTH, WIDTH, 3, nn.ReLU())


def bare() -> nn.Module:
    """Make a convolution with ReLU and without BatchNorm."""
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU())


KINDS = {
    "plain": (plain, units.plain),
    "basic": (Basic, units.basic),
    "inverted": (Inverted, units.inverted),
    "bare": (bare, units.plain),
}
"""The unit as a module, and as the references run it."""


class Net(nn.Module):
    """Stem, unit, a convolution, classifier."""

    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        self.stem, self.unit = conv(3, WIDTH, 3, nn.ReLU()), unit
        self.tail = conv(WIDTH, WIDTH, 1, nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.tail(self.unit(self.stem(x)))).flatten(1))


def build(kind: str, images: Tensor) -> Net:
    """Build a network in float64 whose BatchNorms have about the statistics of these images."""
    net = Net(KINDS[kind][0]()).double()
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches: here of one
        nn.init.uniform_(norm.weight, 1.0, 3.0)  # so wide that some values pass 6
        nn.init.normal_(norm.bias, 0, 0.3)
    with torch.no_grad():
        logits = net.train()(images)
        net.head.weight *= 3 / logits.std(0).mean()  # so that predictions differ, and can be changed
        net.head.bias -= net(images).mean(0)
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.add_(0.2 * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return net.eval()
