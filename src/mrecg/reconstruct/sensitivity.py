"""How much the network's prediction suffers when one layer or unit is quantized and all else is not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mrecg.config.schema import CalibrationConfig
from mrecg.graph.chain import several_ends
from mrecg.graph.structure import has_entries, tensors_of
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer, activations_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.held_out import output_difference, output_squares
from mrecg.runs.sensitivity import Sensitive

Measure = Callable[[], "Harm"]
"""Measures a unit with what is quantized in it at the moment, and all else in full precision."""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What quantizing does to the network.

    Attributes:
        kl: Kullback-Leibler divergence of the class probabilities from those in full precision, mean over the
            images, nats; for outputs that are no logits their relative error, of several the mean of these.
        error: Relative error of the last feature map, which enters the last unit; None for the last unit, and
            where there are several outputs.
    """

    kl: float
    error: float | None


@torch.no_grad()
def sensitivities(
    network: QuantizedNetwork,
    images: Tensor,
    *,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> list[Sensitive]:
    """Quantize the weights and the activations of each unit and of each layer, one at a time.

    Args:
        network: The calibrated network.
        images: Images that it was not calibrated on, shape (N, C, H, W), on its device.
        batch: Images a forward pass.
        progress: Called with the number of units that are done.

    Returns:
        Units and their layers, in the network's order; what has no quantizer is not among them.
    """
    found: list[Sensitive] = []
    layers: list[Sensitive] = []
    for index, measure in _walk(network, images, batch):
        unit, low = network.units[index], network.low[index]
        own = {path: low.get_submodule(path) for path in unit.layers if path in network.policy.layers}
        made = activations_of(low)
        readers = _readers(network, low)
        for what, parts in (("weights", [*own.values()]), ("activations", made)):
            if parts:
                with _on(parts):
                    found.append(_row("unit", unit.name, unit.name, what, parts=parts, harm=measure()))
        for path, layer in own.items():
            with _on([layer]):
                layers.append(_row("layer", path, unit.name, "weights", parts=[layer], harm=measure()))
        for quantizer, names in readers:
            with _on([quantizer]):
                harm = measure()
            layers += [
                _row("layer", name, unit.name, "activations", parts=[quantizer], harm=harm) for name in names
            ]
        if progress is not None:
            progress(1)
    return [*found, *_in_order(layers, network)]


@torch.no_grad()
def weight_costs(
    network: QuantizedNetwork,
    images: Tensor,
    widths: Mapping[str, Sequence[int]],
    calibration: CalibrationConfig,
    *,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, dict[int, Harm]]:
    """Quantize the weights of single layers to several widths, one layer at a time.

    Args:
        network: The network; the layers that are tried are left on other grids.
        images: Shape (N, C, H, W), on its device.
        widths: Bits to try, by layer.
        calibration: How ranges are found.
        batch: Images a forward pass.
        progress: Called with the number of units that are done.

    Returns:
        What each width does, by layer.
    """
    kind: Literal["lp", "minmax"] = "minmax" if calibration.weight_range == "minmax" else "lp"
    found: dict[str, dict[int, Harm]] = {}
    for index, measure in _walk(network, images, batch):
        for path in network.units[index].layers:
            layer = network.low[index].get_submodule(path)
            for bits in widths.get(path, ()):
                assert isinstance(layer, QuantizedLayer)
                layer.bits = bits
                layer.calibrate(kind=kind, norm=calibration.norm, candidates=calibration.candidates)
                with _on([layer]):
                    found.setdefault(path, {})[bits] = measure()
        if progress is not None:
            progress(1)
    return found


@torch.no_grad()
def measured_by(network: QuantizedNetwork, images: Tensor) -> Literal["kl", "relative_error"]:
    """Return what a network's outputs are compared by: class scores by their KL divergence.

    Args:
        images: One or more, shape (N, C, H, W), on its device.
    """
    if several_ends(network.traced.graph):
        return "relative_error"
    return "kl" if nn.Sequential(*network.full)(images[:1]).ndim == 2 else "relative_error"


def _walk(network: QuantizedNetwork, images: Tensor, batch: int) -> Iterator[tuple[int, Measure]]:
    """Visit the units in order, with everything in full precision until the visitor turns something on."""
    if several_ends(network.traced.graph):
        yield from _walk_whole(network, images, batch)
        return
    full = network.full

    def passed(units: Sequence[nn.Module], x: Tensor) -> Tensor:
        return torch.cat([nn.Sequential(*units)(part) for part in torch.split(x, batch)])

    last = passed(full[:-1], images)
    logits = passed(full[-1:], last)
    x = images
    for index, low in enumerate(network.low):

        def measure(index: int = index, low: nn.Module = low, x: Tensor = x) -> Harm:
            if index == len(full) - 1:
                return Harm(kl=output_difference(passed([low], x), logits), error=None)
            out = passed([low, *full[index + 1 : -1]], x)
            off = (out - last).double().square().sum() / last.double().square().sum().clamp_min(1e-30)
            return Harm(kl=output_difference(passed(full[-1:], out), logits), error=float(off))

        with quantization(low, weights=False, activations="off"):
            yield index, measure
        if index < len(full) - 1:
            x = passed(full[index : index + 1], x)


def _walk_whole(network: QuantizedNetwork, images: Tensor, batch: int) -> Iterator[tuple[int, Measure]]:
    """As `_walk`, where some outputs leave before the last unit: each time the whole network is run."""

    def outputs() -> Iterator[list[Tensor]]:
        for x in torch.split(images, batch):
            yield [value for value in tensors_of(network.model(x)) if has_entries(value, len(x))]

    def measure() -> Harm:
        sums = torch.tensor(
            [
                [output_squares(low, full) for low, full in zip(*both, strict=True)]
                for both in zip(outputs(), expected, strict=True)
            ],
            dtype=torch.float64,
        ).sum(0)
        return Harm(kl=float((sums[:, 0] / sums[:, 1].clamp_min(1e-30)).mean()), error=None)

    with quantization(network.model, weights=False, activations="off"):
        expected = [*outputs()]
        for index in range(len(network.units)):
            yield index, measure


@contextmanager
def _on(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Quantize with some of the quantizers of a unit in which all are off."""
    for on in (True, False):
        for part in parts:
            if isinstance(part, QuantizedLayer):
                part.quantized = on
            elif isinstance(part, ActivationQuantizer):
                part.mode = "on" if on else "off"
        if on:
            yield


def _readers(network: QuantizedNetwork, low: nn.Module) -> list[tuple[ActivationQuantizer, tuple[str, ...]]]:
    """The activation quantizers of a unit, each with the layers that read its values."""
    found = []
    for path, part in low.named_modules():
        if isinstance(part, ActivationQuantizer):
            found.append((part, network.policy.readers.get(path.rpartition(".")[2], ())))
    return found


def _row(of: str, name: str, unit: str, what: str, *, parts: Sequence[nn.Module], harm: Harm) -> Sensitive:
    return Sensitive(
        of=of,
        name=name,
        unit=unit,
        quantized=what,
        bits=min(part.bits for part in parts if isinstance(part, QuantizedLayer | ActivationQuantizer)),
        parameters=sum(part.reference.numel() for part in parts if isinstance(part, QuantizedLayer)),
        kl=harm.kl,
        error=harm.error,
    )


def _in_order(rows: Sequence[Sensitive], network: QuantizedNetwork) -> list[Sensitive]:
    """Rows of layers in the network's order: what a layer reads was quantized in the unit that makes it."""
    units = {path: unit.name for unit in network.units for path in unit.layers}
    order = {path: at for at, path in enumerate(units)}
    placed = [replace(row, unit=units[row.name]) for row in rows]
    return sorted(placed, key=lambda row: (order[row.name], row.quantized == "activations"))
