"""Small networks, each with something that a tracer or a partition can stumble over; images of 16 x 16."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Decoder(nn.Module):
    """Dilated and grouped convolutions down, transposed ones up (one of them depthwise), with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), nn.BatchNorm2d(8), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.ConvTranspose2d(8, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.ConvTranspose2d(6, 6, 3, 1, 1, groups=6), nn.BatchNorm2d(6), nn.Tanh(),
        )  # fmt: skip
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.down(x))).mean((2, 3))


class Shuffled(nn.Module):
    """Channels split, convolved, concatenated and shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x), inplace=True)
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat((kept, F.relu(self.branch(changed))), dim=1)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return self.head(x.view(batch, channels, height, width).mean([2, 3]))


class Excited(nn.Module):
    """A bottleneck with squeeze-and-excitation whose result is scaled, not added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 16, 1)
        self.reduce, self.restore = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project, self.head = nn.Conv2d(16, 8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        y = F.hardswish(self.expand(x))
        gate = self.restore(F.relu(self.reduce(F.adaptive_avg_pool2d(y, 1)))).sigmoid()
        y = self.project(y * gate)
        y += x
        return self.head(y.flatten(2).mean(2))


class Repeated(nn.Module):
    """One block called three times, with one BatchNorm of its own for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(3))
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for norm in self.norms:
            x = torch.relu(x + norm(self.shared(x)))
        return self.head(self.drop(x.mean((-2, -1))))


class Bare(nn.Module):
    """No modules at all: parameters and functions, one weight standardised before its use."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.body = nn.Parameter(torch.randn(6, 6, 3, 3))
        self.bias = nn.Parameter(torch.randn(6))
        self.head = nn.Parameter(torch.randn(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = F.relu(F.conv2d(x, self.stem, stride=2))
        weight = (self.body - self.body.mean((1, 2, 3), keepdim=True)) / self.body.std()
        x = x + F.relu(F.conv2d(x, weight, self.bias, padding=1))
        return F.adaptive_max_pool2d(x, 1).view(batch, -1) @ self.head


class Branching(nn.Module):
    """Looks at the size of its images, which torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.body, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)), inplace=True)
        if x.shape[-1] % 4:
            x = F.pad(x, (0, 4 - x.shape[-1] % 4, 0, 0))
        y = self.body(x)
        y.add_(x)
        return self.head(y.mean((2, 3)))


NETS = {kind.__name__: kind for kind in (Decoder, Shuffled, Excited, Repeated, Bare, Branching)}
