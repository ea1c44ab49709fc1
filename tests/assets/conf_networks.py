"""The networks of conf/model, each built and cut once for all tests that look at it."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import odd_nets
import pytest
import torch
import yaml
from shared_fixtures import randomise
from torch import nn

from mrecg.config.inputs import ModelConfig
from mrecg.config.paths import CONF
from mrecg.graph.cut import Cut, cut
from mrecg.models.build import build

GENERIC = ("target", "timm", "torchvision")
PIXELS = {"inception_v3": 96, "embedded": 32}
"""Images have 64 pixels a side, or as many as a network needs, or 32 for CIFAR, or 16 for the odd ones."""
LIMIT = 16
"""Weight layers of a unit, at most."""
QUICK = ("Excited", "Shuffled")
"""Networks of each kind whose tests take seconds: the others are tested with the slow tests."""


class Network(NamedTuple):
    """A network that is not to be changed.

    Attributes:
        model: With BatchNorm statistics that a forgotten term would show in.
        shape: Of an image.
        parameters: How many the network as published has.
        blocks: Its blocks as units.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    parameters: int
    blocks: Cut


def names() -> list[str]:
    """List the networks that have a file of their own."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem not in GENERIC)


def each(of: Iterable[str]) -> Any:
    """Give a test the names of networks; the tests of one network run one after the other, in one process."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in of])


def _marks(name: str) -> list[pytest.MarkDecorator]:
    slow = [] if name in QUICK else [pytest.mark.slow]
    return [pytest.mark.xdist_group(f"network {name}"), *slow]


@lru_cache(maxsize=1)  # they are large, and their tests follow each other
def network(name: str) -> Network:
    """Build and cut a network.

    Args:
        name: Of a file in conf/model, or of an odd network.
    """
    torch.manual_seed(0)
    if name in odd_nets.NETS:
        model, pixels = odd_nets.NETS[name]().eval(), 16
    else:
        model, pixels = _configured(name), 32 if "cifar" in name else PIXELS.get(name, 64)
    parameters = sum(p.numel() for p in model.parameters())
    if name == "vgg16_bn":  # its classifier has nine tenths of the weights, and nothing to show
        model.classifier[0], model.classifier[3] = nn.Linear(25088, 64), nn.Linear(64, 64)
        model.classifier[6] = nn.Linear(64, 10)
    if "lite" not in name and name != "embedded":
        randomise(model)
    shape = (3, pixels, pixels)
    return Network(model, shape, parameters, cut(model, "block", input_shape=shape, max_unit_layers=LIMIT))


def _configured(name: str) -> nn.Module:
    values = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    if values["source"] in ("timm", "embedded"):
        pytest.importorskip("timm")
    return build(ModelConfig(**values), seed=0).model
