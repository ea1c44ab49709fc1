"""What is measured on evaluation images: errors after the units, and activations against their grids.

By the plain formulas, on images that are evenly spaced.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mrecg
from mrecg.pipeline import new_images
from mrecg.pipeline.new_images import NewImages
from mrecg.quant.modules import ActivationQuantizer, activations_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork

CPU = torch.device("cpu")


@pytest.mark.parametrize(("least", "every"), [(256, 1), (10, 3), (7, 5)])
def test_they_are_those_of_the_units_on_every_so_many_th_image(
    tiny_network: Callable[..., QuantizedNetwork],
    monkeypatch: pytest.MonkeyPatch,
    least: int,
    every: int,
) -> None:
    monkeypatch.setattr(new_images, "LEAST", least)
    network = tiny_network(dtype=torch.float64)
    images = torch.randn(37, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    labels = torch.arange(37)
    with quantization(network.model):
        watch = NewImages(network, 37, CPU)
        given = [(images[i : i + 8], labels[i : i + 8]) for i in range(0, 37, 8)]
        seen = list(watch.watch(given))
        assert all(a is b for one in zip(seen, given, strict=True) for a, b in zip(*one, strict=True))
        full = low = images[::every]
        expected = []
        for unit, quantized in zip(network.full, network.low, strict=True):
            full, low = unit(full), quantized(low)
            expected.append(float((low - full).square().sum() / full.square().sum()))
    assert watch.errors == pytest.approx(expected, rel=1e-10)


def test_a_run_has_them_where_it_has_such_images(tiny: torch.nn.Module, tiny_images: Tensor) -> None:
    options = {"method": "rtn", "granularity": "block", "progress": False}
    with_images = torch.utils.data.TensorDataset(tiny_images, torch.zeros(len(tiny_images)).long())
    found = mrecg.quantize(tiny, tiny_images, evaluation=with_images, **options)
    # The images are those of the calibration, so the errors are those, too.
    assert found.summary["evaluation_errors"] == pytest.approx([unit.error for unit in found.units], rel=1e-4)
    without = mrecg.quantize(tiny, tiny_images, **options)
    assert "evaluation_errors" not in without.summary and "activation_ranges" not in without.summary


@pytest.mark.parametrize(("scale", "bits"), [(1.0, 4), (0.3, 4), (0.3, 3)])
def test_activations_are_counted_against_their_grids(
    tiny_network: Callable[..., QuantizedNetwork], scale: float, bits: int
) -> None:
    network = tiny_network(dtype=torch.float64, activation=bits)
    images = torch.randn(24, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for quantizer in activations_of(network.model):
        quantizer.scale.data *= scale
    watch = NewImages(network, 24, CPU)
    list(watch.watch([(images[:16], torch.zeros(16)), (images[16:], torch.zeros(8))]))
    seen = by_hand(network, images[::4])
    assert set(watch.ranges) == {unit for unit, *_ in seen}
    clipped = 0.0
    for unit, found in watch.ranges.items():
        own = [one for one in seen if one[0] == unit]
        places = torch.cat([place.flatten() for _, place, _ in own])
        tops = torch.cat([torch.full_like(place.flatten(), top) for _, place, top in own])
        integers = places.round().clamp(torch.zeros_like(tops), tops)
        assert found["bits"] == sorted({int(top + 1).bit_length() - 1 for *_, top in own})
        for key, chosen in {
            "at_bottom": integers == 0,
            "at_top": integers == tops,
            "clipped_bottom": places < -0.5,
            "clipped_top": places > tops + 0.5,
        }.items():
            assert found[key] == pytest.approx(float(chosen.double().mean()), abs=1e-6), (unit, key)
        clipped += found["clipped_top"]
    assert scale == 1 or clipped > 0.05
    assert not any(quantizer._forward_pre_hooks for quantizer in activations_of(network.model))


class Noting(torch.fx.Interpreter):
    """Runs a unit, and notes where values lie on the grids of its quantizers before these act."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module)
        self.noted: list[tuple[Tensor, int]] = []

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        part = self.module.get_submodule(target)
        if isinstance(part, ActivationQuantizer):
            place = args[0].clamp(*part.bounds) / part.scale + part.zero_point
            self.noted.append((place, part.top))
        return super().call_module(target, args, kwargs)


def by_hand(network: QuantizedNetwork, images: Tensor) -> list[tuple[str, Tensor, int]]:
    """Of every quantizer its unit, where values lie on its grid before it acts, and the grid's top."""
    found, x = [], images
    for unit, module in zip(network.units, network.low, strict=True):
        noting = Noting(module)
        x = noting.run(x)
        found += [(unit.name, place, top) for place, top in noting.noted]
    return found


def test_units_without_quantized_activations_have_no_entry(
    tiny_network: Callable[..., QuantizedNetwork],
) -> None:
    network = tiny_network(activation=32)
    watch = NewImages(network, 4, CPU)
    list(watch.watch([(torch.randn(4, 3, 8, 8), torch.zeros(4))]))
    assert watch.errors and watch.ranges == {}
