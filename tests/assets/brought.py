"""Small networks as people bring them; images of 16 x 16."""

import torch
from torch import Tensor, nn

SHAPE = (3, 16, 16)


def network() -> nn.Sequential:
    """Convolution, BatchNorm, ReLU, convolution, ReLU, linear layer: paths 0, 3 and 7 have weights."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 1.5)
    return net


def images(count: int = 4) -> Tensor:
    """Random images."""
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(5))


class Looking(nn.Module):
    """Looks at the size of its images, so that only torch.export can follow it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 4:
            x = x[..., :-1]
        return self.net(x)
