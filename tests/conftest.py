"""Settings and the networks that several tests share."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import settings
from torch import fx, nn
from torchvision.models import get_model

from mrecg.graph.trace import trace
from mrecg.models import embedded

settings.register_profile("mrecg", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("mrecg")

Build = Callable[[str], nn.Module]
Trace = Callable[[str], fx.GraphModule]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomise(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and parameters that a forgotten term would show in."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.2)
                nn.init.normal_(part.bias, 0, 0.2)
    return model.eval()


def _build(name: str) -> nn.Module:
    arguments = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return embedded.build() if name == "embedded" else get_model(name, weights=None, **arguments)


@cache
def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return embedded.load() if name == "embedded" else randomise(_build(name))


@cache
def _traced(name: str) -> fx.GraphModule:
    return trace(_model(name))


@cache
def _skeleton(name: str) -> fx.GraphModule:
    # RegNet's builder reads tensors; all others are built without memory.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return trace(_build(name))


@pytest.fixture(scope="session")
def model_of() -> Build:
    """Build a network by name, once; BatchNorm statistics random, weights random but for the embedded one."""
    return _model


@pytest.fixture(scope="session")
def traced_of() -> Trace:
    """Trace and fold a network by name, once."""
    return _traced


@pytest.fixture(scope="session")
def skeleton_of() -> Trace:
    """Trace and fold a network without numbers, by name, once: all that the graph alone decides, and fast."""
    return _skeleton


@pytest.fixture(scope="session")
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Randomise the BatchNorms of a network."""
    return randomise
