"""The networks that are measured, with images and caches for them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import yaml
from torch import Tensor, nn

from mrecg.config.inputs import ModelConfig
from mrecg.config.paths import CONF
from mrecg.config.schema import BitsConfig, CacheConfig, CalibrationConfig, Precision
from mrecg.graph.cut import cut
from mrecg.models.build import build
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, Store
from mrecg.reconstruct.calibrate import calibrate as find_ranges
from mrecg.reconstruct.rolling_cache import GroupCache, advance

PIXELS = {"embedded": 32, "efficientnet_lite0": 96, "resnet18": 96, "resnet50": 96}
"""The networks, and the size of their images: small enough for minutes on a CPU."""
IMAGES = 128
"""Calibration images: enough that a pass over them is not over at once."""
BATCH, EVAL_BATCH = 32, 64
"""Images a step and images a forward pass, as in the default configuration."""
BITS = BitsConfig(weight=4, activation=4)
PRECISION: Precision = 32
"""Of the step, as of its floor."""


def network_of(name: str, device: torch.device, bits: BitsConfig = BITS) -> tuple[QuantizedNetwork, Tensor]:
    """Build a network of conf/model, cut and calibrate it, and draw images for it.

    Args:
        name: One of `PIXELS`.
        bits: Of weights and activations.

    Returns:
        The network and random images; time does not depend on what is on them.
    """
    config = ModelConfig(**yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text()))
    shape = (3, PIXELS[name], PIXELS[name])
    parts = cut(build(config, seed=0).model, input_shape=shape)
    network = QuantizedNetwork(parts.graph, parts.units, bits).to(device)
    images = random_images(shape, device)
    calibrate(network, images)
    return network, images


def random_images(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw `IMAGES` images in channels-last order."""
    images = torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    return images.to(device, memory_format=torch.channels_last)


def calibrate(network: QuantizedNetwork, images: Tensor, settings: CalibrationConfig | None = None) -> None:
    """Find all ranges."""
    for _ in find_ranges(network, images, settings or CalibrationConfig(), batch=EVAL_BATCH):
        pass


def plan_of(network: QuantizedNetwork, group_size: int = 1) -> Plan:
    """Group the units, so many at a time."""
    names = tuple(unit.name for unit in network.units)
    groups = tuple(names[i : i + group_size] for i in range(0, len(names), group_size))
    return Plan(granularity="fixed", units=names, groups=groups)


@dataclass(frozen=True)
class Subject:
    """One unit, with what its optimisation needs.

    Attributes:
        name: Of the unit.
        low: The unit, quantized.
        full: The unit in full precision.
        cache: What it learns from.
        depthwise: Whether the network has depthwise convolutions; the default regulariser depends on it.
    """

    name: str
    low: nn.Module
    full: nn.Module
    cache: GroupCache
    depthwise: bool
    device: torch.device


def subjects(network: QuantizedNetwork, images: Tensor) -> Iterator[Subject]:
    """Give all units in order, while the cache advances."""
    device = images.device
    kept = Cache(CacheConfig(), device)
    depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
    full = quantized = Store.of(images)
    for unit, low, plain in zip(network.units, network.low, network.full, strict=True):
        target = advance(plain, full, kept, batch=EVAL_BATCH)
        yield Subject(unit.name, low, plain, GroupCache(quantized, full, target), depthwise, device)
        full, quantized = target, advance(low, quantized, kept, batch=EVAL_BATCH)
