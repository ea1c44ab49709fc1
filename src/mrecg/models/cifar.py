"""ResNets for 32 x 32 images, with shortcuts that have no parameters.

Source: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2 (option A). The
module names are those of the checkpoints that circulate for CIFAR-10 (``layer1.0.conv1``, ``linear``).
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)


class PaddedShortcut(nn.Module):
    """Every ``stride``-th pixel, and zeros for the channels that are new.

    Args:
        stride: 1 or 2.
        added: Channels to add, half of them in front.
    """

    def __init__(self, stride: int, added: int) -> None:
        super().__init__()
        self.stride, self.front, self.back = stride, added // 2, added - added // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + added, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.back))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else PaddedShortcut(stride, outputs - inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """Stem, three stages of basic blocks at 16, 32 and 64 channels, classifier.

    Args:
        blocks: Blocks a stage; the network has ``6 * blocks + 2`` layers.
        num_classes: Outputs.
    """

    def __init__(self, *, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = self._stage(WIDTHS[0], WIDTHS[0], blocks, 1)
        self.layer2 = self._stage(WIDTHS[0], WIDTHS[1], blocks, 2)
        self.layer3 = self._stage(WIDTHS[1], WIDTHS[2], blocks, 2)
        self.linear = nn.Linear(WIDTHS[2], num_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, stride)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet20(num_classes: int = 10) -> CifarResNet:
    """Build the ResNet with 20 layers (0.27 M parameters)."""
    return CifarResNet(blocks=3, num_classes=num_classes)


def resnet32(num_classes: int = 10) -> CifarResNet:
    """Build the ResNet with 32 layers (0.46 M parameters)."""
    return CifarResNet(blocks=5, num_classes=num_classes)


def resnet56(num_classes: int = 10) -> CifarResNet:
    """Build the ResNet with 56 layers (0.85 M parameters)."""
    return CifarResNet(blocks=9, num_classes=num_classes)
