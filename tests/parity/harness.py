"""Run the package on a small network, and note as plain tensors all that a reference needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import BitsConfig, CacheConfig, CalibrationConfig, GranularityConfig, TrainerConfig
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.planner.plan import make_plan
from mrecg.quant.affine import from_memory_order
from mrecg.quant.drop import Draw
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.batch_order import Order
from mrecg.reconstruct.calibrate import calibrate
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import CurvePoint, Silent, UnitResult
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.settings import Settings
from tests.parity.networks import KINDS, Net, build
from tests.references.units import Data, Draws, Grid, Layer, Unit

STEPS, BATCH, IMAGES = 50, 4, 12
NAMES = ("stem", "unit", "tail", "head")
UNIT = NAMES.index("unit")


@dataclass
class Fit:
    """The draws of one group in one pass, and what it learned."""

    images: list[Tensor] = field(default_factory=list)
    masks: list[dict[Any, Tensor]] = field(default_factory=list)
    alphas: list[Tensor] = field(default_factory=list)

    @property
    def draws(self) -> Draws:
        return Draws(self.images, [list(places.values()) for places in self.masks])


@contextmanager
def recorded() -> Iterator[list[Fit]]:
    """Note every group's draws and alphas, in the order of the optimisation."""
    fits: list[Fit] = []
    orders: list[Order] = []
    at, mask, harden = Order.at, Draw.mask, GroupReconstruction.harden

    def noting_at(order: Order, step: int) -> Tensor:
        if not orders or order is not orders[-1]:
            orders.append(order)
            fits.append(Fit())
        fits[-1].images.append(at(order, step).clone())
        fits[-1].masks.append({})
        assert len(fits[-1].images) == step + 1
        return fits[-1].images[-1]

    def noting_mask(draw: Draw, like: Tensor) -> Tensor:
        drawn = mask(draw, like)  # by its key: the backward pass asks for it again
        fits[-1].masks[-1].setdefault(draw.key, drawn.bool())
        return drawn

    def noting_harden(module: GroupReconstruction) -> None:
        if module.rounding is not None and len(module.rounding.alpha):
            layers = layers_of(module.group)
            parts = module.rounding.alpha.detach().split([layer.reference.numel() for layer in layers])
            pairs = zip(parts, layers, strict=True)
            fits[-1].alphas = [from_memory_order(part, layer.reference) for part, layer in pairs]
        harden(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Order, "at", noting_at)
        patch.setattr(Draw, "mask", noting_mask)
        patch.setattr(GroupReconstruction, "harden", noting_harden)
        yield fits


class Done(Exception):  # noqa: N818  nothing is wrong
    """The unit is finished; what follows is nobody's business here."""


class Watcher(Silent):
    """Note the curves, and which group learned in which pass; stop behind the unit in the last pass."""

    def __init__(self) -> None:
        self.curves: dict[tuple[str, str], list[CurvePoint]] = {}

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        if points:
            self.curves.setdefault((task, group), []).extend(points)

    def unit(self, index: int, result: UnitResult) -> None:
        if index == UNIT:
            raise Done


@dataclass
class Run:
    """What the package made of the unit; one curve and one fit a pass."""

    net: Net
    network: QuantizedNetwork
    images: Tensor
    start: Unit
    curves: list[list[CurvePoint]]
    fits: list[Fit]

    @property
    def low(self) -> nn.Module:
        return self.network.low[UNIT]

    @torch.no_grad()
    def data(self, *, activations: Literal["on", "off"] = "on") -> Data:
        """What the unit learned from; ``off``: behind a prefix with its activations in full precision."""
        stem = self.network.low[0]
        with quantization(stem, activations=activations):
            quantized = stem(self.images)
        full = self.net.stem(self.images)
        target = self.net.unit(full)
        return Data(quantized, full, target, torch.ones_like(target))

    @property
    def logits(self) -> Tensor:
        """The network's prediction in full precision."""
        return self.net(self.images).detach()

    def tail(self, x: Tensor) -> Tensor:
        """Run the rest of the network in full precision, as it was before it was folded."""
        return self.net.head(self.net.pool(self.net.tail(x)).flatten(1))


def as_tensors(low: nn.Module, kind: str) -> Unit:
    """Copy a calibrated unit out of the package."""
    layers = []
    for part in layers_of(low):
        conv = part.layer
        assert isinstance(conv, nn.Conv2d) and isinstance(conv.padding[0], int) and conv.bias is not None
        weight, bias = part.reference.detach().clone(), conv.bias.detach().clone()
        grid = part.scale.clone(), part.zero_point.clone(), part.top
        layers.append(Layer(weight, bias, conv.padding[0], conv.groups, *grid))
    grids = [Grid(q.scale.detach().clone(), float(q.zero_point), q.top) for q in activations_of(low)]
    return Unit(KINDS[kind][1], layers, grids)


def run(
    kind: str, method: LearnedRounding, *, images: int = IMAGES, batch: int = BATCH, steps: int = STEPS
) -> Run:
    """Calibrate a network in float64 and reconstruct it in three groups: stem, unit, the rest."""
    torch.manual_seed(5)
    pictures = torch.randn(images, 3, 8, 8, dtype=torch.float64)
    net = build(kind, pictures)
    traced = trace(net).graph
    network = QuantizedNetwork(traced, partition(traced, "layer"), BitsConfig(weight=3, activation=3))
    network.to(torch.device("cpu"))
    list(calibrate(network, pictures, CalibrationConfig(bins=128, candidates=8), batch=images))
    for module in (*network.full, *network.low, network.model):
        module.double()
    assert tuple(unit.name for unit in network.units) == NAMES
    plan = make_plan(
        [unit.facts for unit in network.units],
        network.policy.layers,
        granularity=GranularityConfig(name="fixed", groups=(("tail", "head"),)),
        planner=PlannerConfig(),
        model="parity",
    )
    start = as_tensors(network.low[UNIT], kind)
    watcher = Watcher()
    with recorded() as fits, pytest.raises(Done):
        reconstruct(
            network,
            pictures,
            plan,
            Settings(
                method=method,
                trainer=TrainerConfig(steps=steps, steps_per="group", batch_size=batch, log_every=1),
                cache=CacheConfig(),
                precision=32,
                seed=3,
                eval_batch=images,
            ),
            listener=watcher,
        )
    pairs = zip(watcher.curves, fits, strict=True)
    return Run(
        net=net,
        network=network,
        images=pictures,
        start=start,
        curves=[curve for (_, name), curve in watcher.curves.items() if name == "unit"],
        fits=[fit for (_, name), fit in pairs if name == "unit"],
    )
