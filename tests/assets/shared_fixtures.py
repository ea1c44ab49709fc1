"""Settings, networks and pictures that several tests share."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_net
import torch
from hypothesis import settings
from PIL import Image
from run_folders import MERGED, UNITS, make_plan, write_failed, write_run
from torch import Tensor, fx, nn
from torchvision.models import get_model

from mrecg.config.schema import BitsConfig, CalibrationConfig, RunConfig
from mrecg.config.validate import run_config
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.models import embedded
from mrecg.quant.modules import layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.calibrate import calibrate

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


@pytest.fixture(scope="session")
def one_onnx_registry() -> Iterator[None]:
    """Let torch.onnx make its table of operators once for each opset: it takes a second for every file."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


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
    return trace(_model(name)).graph


@cache
def _skeleton(name: str) -> fx.GraphModule:
    # RegNet's builder reads tensors; all others are built without memory.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return trace(_build(name)).graph


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


@cache
def _tiny() -> nn.Module:
    torch.manual_seed(7)
    return randomise(tiny_net.build())


@pytest.fixture(scope="session")
def tiny() -> nn.Module:
    """The network of tests/assets/tiny_net.py with fixed random weights; not to be changed."""
    return _tiny()


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """The same network as torch initialises it; not to be changed."""
    torch.manual_seed(0)
    return tiny_net.build().eval()


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Sixteen 8 x 8 images for it, from 0 to 1."""
    return torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def tiny_images() -> Tensor:
    """Sixteen 8 x 8 images for it."""
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return images.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def tiny_network(tiny: nn.Module, tiny_images: Tensor) -> Callable[..., QuantizedNetwork]:
    """Cut it into units and calibrate these, anew at each call."""

    def make(
        weight: int = 3, activation: int = 3, dtype: torch.dtype = torch.float32, **more: Any
    ) -> QuantizedNetwork:
        traced = trace(tiny).graph
        bits = BitsConfig(weight=weight, activation=activation, **more)
        network = QuantizedNetwork(traced, partition(traced), bits).to(torch.device("cpu"))
        quick = CalibrationConfig(bins=128, candidates=8)
        assert len(list(calibrate(network, tiny_images, quick, batch=16))) == len(network.units)
        for module in (*network.full, *network.low, network.model):
            module.to(dtype)
        for layer in layers_of(network.model):
            layer.refresh()  # the weight that it was read back into had the digits of the calibration
        return network

    return make


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty 16 x 16 pictures: train/ flat, val/ in the classes b and c, classes/ with all of a, b, c."""
    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for i in range(30):
        place = root / "train" if i < 18 else root / "val" / "bc"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        suffix = ".jpg" if i % 3 == 0 else ".png"
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i:02d}{suffix}")
    for name in "abc":
        (root / "classes" / name).mkdir(parents=True)
    return root


@pytest.fixture(scope="session")
def tiny_config(pictures: Path) -> Callable[..., RunConfig]:
    """Configure a run of the tiny network on the pictures in two steps; groups of values can be laid over."""

    def make(**groups: Any) -> RunConfig:
        values: dict[str, Any] = {
            "model": {
                "source": "target",
                "target": "tiny_net.build",
                "name": "tiny",
                "arguments": {"classes": 3},
                "input_shape": [3, 16, 16],
            },
            "data": {
                "source": "image_folder",
                "name": "pictures",
                "calibration_path": str(pictures / "train"),
                "evaluation_path": str(pictures / "val"),
                "classes_path": str(pictures / "classes"),
                "calibration_images": 12,
                "batch_size": 8,
            },
            "calibration": {"bins": 64, "candidates": 4},
            "trainer": {"steps": 2, "batch_size": 4, "chunk": 2, "log_every": 1},
            "logger": {"wandb": "disabled"},
        }
        for key, own in groups.items():
            values[key] = {**values.get(key, {}), **own} if isinstance(own, dict) else own
        return run_config(values)

    return make


@pytest.fixture(scope="session")
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Randomise the BatchNorms of a network."""
    return randomise


@pytest.fixture(scope="session")
def small(pictures: Path) -> list[str]:
    """Overrides for a run of seconds: the tiny network on the pictures, two steps, no W&B."""
    return [
        *("model=target", "model.target=tiny_net.build", "model.name=tiny", "model.arguments={classes:3}"),
        *("model.input_shape=[3,16,16]", "data=image_folder", f"data.calibration_path={pictures / 'train'}"),
        *(f"data.evaluation_path={pictures / 'val'}", f"data.classes_path={pictures / 'classes'}"),
        *("data.calibration_images=12", "calibration.candidates=4", "calibration.bins=64", "logger=csv"),
        *("trainer.steps=2", "trainer.batch_size=4", "trainer.log_every=1", "planner.merge_boundary=true"),
    ]


@pytest.fixture(scope="session")
def folders() -> SimpleNamespace:
    """What writes run folders, and the names in them."""
    return SimpleNamespace(
        write_run=write_run, write_failed=write_failed, units=UNITS, merged=MERGED, plan=make_plan
    )
