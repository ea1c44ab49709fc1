"""What quantizing one unit does, against an explicit computation in float64."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mrecg.errors import ConfigError
from mrecg.planner.pack import pack_scores
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import quantized_alone as module
from mrecg.reconstruct.quantized_alone import quantized_alone

Network = Callable[..., QuantizedNetwork]


@torch.no_grad()
def test_against_finite_differences(tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state().items()}
    ticks: list[int] = []
    found = quantized_alone(network, tiny_images, seed=0, batch=5, progress=ticks.append)
    precise = [copy.deepcopy(unit).double() for unit in network.full]
    entering, exact, eps = tiny_images, tiny_images.double(), 1e-5
    for i, (low, unit) in enumerate(zip(network.low, found, strict=True)):
        out, rest = low(entering).double(), nn.Sequential(*precise[i + 1 :])
        entering, exact = network.full[i](entering), precise[i](exact)
        quantized, error = rest(out).softmax(1), exact - out

        def divergence(at: Tensor, rest: nn.Module = rest, quantized: Tensor = quantized) -> float:
            return float((quantized * (quantized.log() - rest(at).log_softmax(1))).sum())

        slope = (divergence(exact + eps * error) - divergence(exact - eps * error)) / (2 * eps)
        prediction = divergence(exact) / len(tiny_images)
        assert unit.prediction == pytest.approx(prediction, rel=1e-3, abs=1e-7)
        assert unit.slope == pytest.approx(slope / error.numel(), rel=1e-2, abs=1e-7)
        assert unit.squared_error == pytest.approx(float(error.square().mean()), rel=1e-4)
        score = (prediction - slope / error.numel()) / (0.5 * float(error.square().mean()))
        assert unit.score == pytest.approx(score, rel=1e-2)
    assert all(unit.prediction > 0 for unit in found)
    assert sum(ticks) == len(tiny_images)
    assert all(torch.equal(value, before[name]) for name, value in network.state().items())
    assert pack_scores(found).capacities == tuple(unit.score for unit in found)


def test_up_to_so_many_images_are_drawn(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_network()
    whole = quantized_alone(network, tiny_images, seed=0, batch=8)
    monkeypatch.setattr(module, "IMAGES", 6)
    part, again = (quantized_alone(network, tiny_images, seed=0, batch=8) for _ in range(2))
    assert part == again != whole
    assert part != quantized_alone(network, tiny_images, seed=1, batch=8)


def test_other_outputs_than_logits_are_refused(tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network()
    network.full[-1] = nn.Identity()
    with pytest.raises(ConfigError, match=r"planner=pack compares class probabilities.* shape \(1, "):
        quantized_alone(network, tiny_images, seed=0, batch=8)
