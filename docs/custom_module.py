"""Quantize a network of one's own: no registration, no wrapper, no list of merge points."""

import torch
from torch import Tensor, nn

import mrecg


class Blend(nn.Module):
    """A residual of a form that no table of architectures knows: input and branch are blended by a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise, self.norm = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)
        self.gate = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        branch = self.norm(self.pointwise(torch.relu(self.depthwise(x))))
        return torch.lerp(x, branch, self.gate)


def main(steps: int = 100) -> mrecg.Result:
    """Quantize a small network of such blocks to 4 bits."""
    torch.manual_seed(0)
    stem, head = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU()), nn.Linear(16, 10)
    model = nn.Sequential(stem, Blend(16), Blend(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()
    images = torch.randn(256, 3, 32, 32)  # yours: a few hundred real ones, normalised
    return mrecg.quantize(model, images, weight_bits=4, activation_bits=4, merge_count=1, steps=steps)


if __name__ == "__main__":
    result = main()
    result.save("runs/custom")
    for unit in result.units:
        print(f"{unit.name}: relative error {unit.error:.3f}")  # noqa: T201
