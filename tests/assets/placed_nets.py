"""Small networks for the question where quantizers stand; images of 3 x 16 x 16, W = 16 channels inside."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


class Chain(nn.Module):
    """Three convolutions, each with the same functions after it, and a linear head."""

    def __init__(self, *functions: Function, width: int = 16) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (
            conv(3, 16, 2),
            conv(width, 16),
            conv(width, 16),
            nn.Linear(width, 10),
        )
        self.functions = functions
        for i, function in enumerate(functions):
            if isinstance(function, nn.Module):
                self.add_module(f"f{i}", function)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c):
            x = layer(x)
            for function in self.functions:
                x = function(x)
        return self.head(x.mean((2, 3)))


class Shared(nn.Module):
    """Residual blocks without norms: each value is added later, and read through a function now."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.stem, self.function, self.head = conv(3, 16, 2), function, nn.Linear(16, 10)
        self.convs = nn.ModuleList(conv(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in (0, 2):
            x = x + self.convs[i + 1](self.function(self.convs[i](self.function(x))))
        return self.head(self.function(x).mean((2, 3)))


class Heads(nn.Module):
    """Two averaged heads, one that is called on three levels, or one that refines the result of the other."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b, self.c = conv(3, 8, 2), conv(8, 8, 2), conv(8, 8, 2)
        self.one, self.two = conv(8, 4), conv(4 if kind == "refined" else 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for layer in (self.a, self.b, self.c):
            x = F.relu(layer(x))
            levels.append(x)
        if self.kind == "levels":
            return torch.cat([self.one(level).flatten(2) for level in levels], 2)
        first = self.one(x)
        return first + self.two(F.relu(first)) if self.kind == "refined" else (first + self.two(x)) / 2


class Stems(nn.Module):
    """The image is normalised inside and read by two layers; a third reads it small beside features."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.late = conv(3, 8, 2), nn.Conv2d(3, 8, 5, 2, 2), conv(19, 8)
        self.middle, self.head = conv(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.45) / 0.22
        y = torch.cat([F.silu(self.left(x)), F.relu(self.right(x)), F.avg_pool2d(x, 2)], 1)
        return self.head(F.relu(self.middle(F.relu(self.late(y)))).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM after the convolutions, which stays in full precision."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, (2, 1), 1), nn.ReLU())
        self.memory = nn.LSTM(64, 64, batch_first=True, bidirectional=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.body(x).permute(0, 3, 1, 2).flatten(2))[0][:, -1])
