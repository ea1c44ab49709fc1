"""Networks that return something else than one tensor, small."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Named(NamedTuple):
    """A named tuple with a list and a dict inside."""

    out: Tensor
    features: list[Any]


@dataclass
class Classed:
    """A dataclass with a field that is not always a tensor."""

    logits: Tensor
    aux: Tensor | None = None


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with its BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Branches(nn.Module):
    """A trunk of four blocks, a head of classes, and an auxiliary one of a map after the second block.

    Args:
        give: Makes what is returned of ``a`` (8, 8, 8), ``b`` and ``c`` (12, 4, 4), ``aux`` (2, 8, 8),
            ``logits`` (10) and ``other`` (5) of an image of (3, 16, 16).
    """

    def __init__(self, give: Callable[..., Any]) -> None:
        super().__init__()
        self.give = give
        self.stem, self.a, self.b, self.c = block(3, 8, 2), block(8, 8), block(8, 12, 2), block(12, 12)
        self.aux = nn.Sequential(block(8, 4), nn.Conv2d(4, 2, 1))
        self.head, self.other = nn.Linear(12, 10), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Any:
        a = self.a(self.stem(x))
        b = self.b(a)
        c = self.c(b)
        pooled = c.mean((2, 3))
        return self.give(
            x=x, a=a, b=b, c=c, aux=self.aux(a), logits=self.head(pooled), other=self.other(pooled)
        )


def as_dict(**v: Tensor) -> dict[str, Tensor]:
    """Return two outputs by name; unlike a lambda it can be sent to another process."""
    return {"out": v["logits"], "aux": v["aux"]}


FORMS: dict[str, Callable[..., Any]] = {
    "dict": as_dict,
    "heads": lambda **v: (v["logits"], v["other"]),
    "named": lambda **v: Named(v["logits"], [v["a"], {"deep": v["c"]}]),
    "classed": lambda **v: Classed(v["logits"], v["aux"]),
    "classed_with_none": lambda **v: Classed(v["logits"]),
    "pyramid": lambda **v: OrderedDict([("0", v["a"]), ("1", v["b"]), ("2", v["c"])]),
    "twice": lambda **v: {
        "a": v["logits"],
        "b": v["logits"],
        "p": v["logits"].softmax(1),
        "n": 3,
        "x": v["x"],
    },
    "indices": lambda **v: {"scores": v["aux"], "classes": v["aux"].argmax(1), "mask": v["b"] > 0},
    "constant": lambda **v: [v["logits"], torch.ones(3)],
}
"""What `Branches` may return, by name."""


def branches(form: str) -> nn.Module:
    """Build one of the networks."""
    torch.manual_seed(3)
    return Branches(FORMS[form]).eval()


class Sharpen(nn.Module):
    """A network without a classifier: it makes images twice as large."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.shuffle = nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        out: Tensor = self.shuffle(self.last(h + self.second(h).relu()))
        return out


def images(count: int = 12) -> Tensor:
    """Random images of shape (count, 3, 16, 16)."""
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
