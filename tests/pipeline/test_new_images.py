"""Errors after the units on evaluation images: the plain formula, on images that are evenly spaced."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import mrecg
from mrecg.pipeline import new_images
from mrecg.pipeline.new_images import NewImages
from mrecg.quant.modules import quantization
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
    assert "evaluation_errors" not in without.summary
