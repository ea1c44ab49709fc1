"""Networks drawn at random: convolutions, what may lie between them, joins; all values are (N, 8, H, W)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

WIDTH = 8


class Affine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.7 - 0.2


def _modules() -> dict[str, Callable[[], nn.Module]]:
    return {
        "conv": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        "pointwise": lambda: nn.Conv2d(WIDTH, WIDTH, 1),
        "depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
        "transposed": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 3, padding=1),
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "leaky": lambda: nn.LeakyReLU(0.2),
        "prelu": lambda: nn.PReLU(WIDTH),
        "mish": nn.Mish,
        "batch_norm": lambda: nn.BatchNorm2d(WIDTH),
        "group_norm": lambda: nn.GroupNorm(2, WIDTH),
        "instance_norm": lambda: nn.InstanceNorm2d(WIDTH),
        "max_pool": lambda: nn.MaxPool2d(3, 1, 1),
        "avg_pool": lambda: nn.AvgPool2d(3, 1, 1),
        "affine": Affine,
    }


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swish": lambda x: x * torch.sigmoid(x),
    "hard_swish": lambda x: x * F.relu6(x + 3) / 6,
    "mish_by_hand": lambda x: x * torch.tanh(F.softplus(x)),
    "absolute": lambda x: x.abs(),
    "square_root": lambda x: (x.abs() + 0.1).sqrt(),
    "clamp": lambda x: x.clamp(min=-0.3, max=1.1),
    "cast": lambda x: x.float(),
    "contiguous": lambda x: x.contiguous(),
    "shuffle": lambda x: (
        x.view(x.size(0), 2, WIDTH // 2, x.size(2), x.size(3)).transpose(1, 2).reshape(x.shape)
    ),
    "halves": lambda x: torch.cat([x[:, WIDTH // 2 :], x[:, : WIDTH // 2]], 1),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "pixels": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "padded": lambda x: F.pad(x, (1, 0, 1, 0))[:, :, 1:, 1:],
    "nearest": lambda x: F.interpolate(x, scale_factor=2)[:, :, ::2, ::2],
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")[:, :, ::2, ::2],
    "flipped": lambda x: x.flip(-1),
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
}
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": torch.maximum,
    "mixed": lambda a, b: torch.cat([a[:, : WIDTH // 2], b[:, WIDTH // 2 :]], 1),
}
LAYERS = ("conv", "pointwise", "depthwise", "transposed")
HEADS = ("linear", "fully_convolutional", "two", "none")


@dataclass(frozen=True)
class Step:
    """One operation on the latest value, and for a join on an earlier one, perhaps after a function of it."""

    kind: str
    back: int = 0
    function: str = ""


class RandomNet(nn.Module):
    """A stem, the steps, and a head that reads the last value.

    Attributes:
        nearest: By a weight layer's path, those of the nearest layers before it; ``image`` for the input.
        last: Paths of the layers whose result reaches the output with no layer between.
    """

    def __init__(self, steps: list[Step], head: str, *, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        kinds = _modules()
        self.steps, self.kind = steps, head
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.parts = nn.ModuleDict({str(i): kinds[s.kind]() for i, s in enumerate(steps) if s.kind in kinds})
        if head in ("linear", "two"):
            self.one, self.two = nn.Linear(WIDTH, 5), nn.Linear(WIDTH, 5)
        if head == "fully_convolutional":
            self.one = nn.Conv2d(WIDTH, 5, 1)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.3, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
        self.nearest: dict[str, set[str]] = {"stem": {"image"}}
        self.last = self._follow()

    def _follow(self) -> set[str]:
        values = [{"stem"}]
        for i, step in enumerate(self.steps):
            found = values[-1] | (values[-1 - step.back % len(values)] if step.kind in JOINS else set())
            if step.kind in LAYERS:
                self.nearest[f"parts.{i}"] = found
                found = {f"parts.{i}"}
            values.append(found)
        heads = {"two": {"one", "two"}, "none": set()}.get(self.kind, {"one"})
        self.nearest |= dict.fromkeys(heads, values[-1])
        return heads or values[-1]

    def forward(self, x: Tensor) -> Tensor:
        values = [self.stem(x)]
        for i, step in enumerate(self.steps):
            if str(i) in self.parts:
                values.append(self.parts[str(i)](values[-1]))
            elif step.kind in FUNCTIONS:
                values.append(FUNCTIONS[step.kind](values[-1]))
            else:
                other = values[-1 - step.back % len(values)]
                other = FUNCTIONS[step.function](other) if step.function else other
                values.append(JOINS[step.kind](values[-1], other))
        out = values[-1]
        if self.kind == "linear":
            return self.one(out.mean((2, 3)))
        if self.kind == "two":
            pooled = F.adaptive_avg_pool2d(out, 1).flatten(1)
            return self.one(pooled) - self.two(pooled)
        return self.one(out) if self.kind == "fully_convolutional" else out


def _steps() -> st.SearchStrategy[Step]:
    alone = st.builds(Step, st.sampled_from([*_modules(), *FUNCTIONS, *LAYERS, *LAYERS, *LAYERS]))
    functions = st.one_of(st.just(""), st.sampled_from(list(FUNCTIONS)))
    return st.one_of(
        alone, alone, st.builds(Step, st.sampled_from(list(JOINS)), st.integers(1, 4), functions)
    )


def networks() -> st.SearchStrategy[RandomNet]:
    """Draw networks of 1 to 10 steps."""
    return st.builds(
        lambda steps, head, seed: RandomNet(steps, head, seed=seed).eval(),
        st.lists(_steps(), min_size=1, max_size=10),
        st.sampled_from(HEADS),
        st.integers(0, 3),
    )
