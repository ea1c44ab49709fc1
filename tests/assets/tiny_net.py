"""A residual network of five units and 1,600 weights, for tests where the architecture does not matter."""

from torch import Tensor, nn
from torch.nn import functional


class Basic(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.down(x))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, linear bottleneck."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu6(self.depthwise(functional.relu6(self.expand(x))))
        return x + self.project(out)


class TinyNet(nn.Module):
    """Stem, two basic blocks, one inverted bottleneck, classifier; for images of any size from 4 x 4."""

    def __init__(self, classes: int = 10, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.first = Basic(width, width, 1)
        self.second = Basic(width, 2 * width, 2)
        self.third = Inverted(2 * width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(self.stem(x))))
        return self.head(self.pool(x).flatten(1))


def build(classes: int = 10, width: int = 4) -> nn.Module:
    """Build the network; its weights are those of the global seed."""
    return TinyNet(classes, width)


def not_a_model() -> int:
    """Return what is no module."""
    return 3
