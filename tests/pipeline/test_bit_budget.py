"""bits.budget: what is chosen, kept and refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mrecg
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError
from mrecg.pipeline.bit_budget import held_out
from mrecg.report import load_run

FREE = ("first.conv1", "first.conv2", "second.conv1", "second.conv2", "second.down",
        "third.expand", "third.depthwise", "third.project")  # fmt: skip


def quantized(model: nn.Module, x: Tensor, **bits: Any) -> mrecg.Result:
    return mrecg.quantize(
        model, x, method="rtn", granularity="block", steps=1, progress=False, bits=bits,
        trainer={"threads": 1, "batch_size": 8}, calibration={"candidates": 8, "bins": 64},
    )  # fmt: skip


def average(found: mrecg.Result) -> float:
    layers = {layer.name: layer.weights for unit in found.plan.facts for layer in unit.layers}
    bits = {name: found.summary["layer_bits"][name]["weight"] for name in FREE}
    return sum(layers[name] * bits[name] for name in FREE) / sum(layers[name] for name in FREE)


def test_an_average_is_kept_and_used(network: nn.Module, images: Tensor, tmp_path: Path) -> None:
    found = quantized(network, images, budget=3.5)
    bits = {name: one["weight"] for name, one in found.summary["layer_bits"].items()}
    assert 3.2 < average(found) <= 3.5 and bits["stem.0"] == bits["head"] == 8
    assert set(bits.values()) > {8} and all(2 <= one <= 8 for one in bits.values())
    assert found.summary["bits"]["weight"] == round(average(found))
    assert {key for key in found.summary["options"] if key.startswith("bits.")} == {"bits.budget"}
    assert found.summary["average_bits"] == pytest.approx(average(found), abs=1e-4)
    assert found.config.name == f"{type(network).__name__}-w3.5avg-a4-rtn-block-s0"
    assert "W(avg 3.5)A4" in repr(found) and "average_bits" not in quantized(network, images).summary
    assert found.config.bits.budget == 3.5 and not found.config.bits.layers
    folder = found.save(tmp_path)
    run = load_run(folder)
    assert (run.widths, run.average_bits) == ("W(avg 3.5)A4", found.summary["average_bits"])
    assert "W(avg 3.5)A4" in repr(mrecg.load(folder / "quantized.safetensors", model=network))
    assert torch.equal(mrecg.load(folder, model=network).model(images), found.model(images))
    again = quantized(network, images, budget=3.5)
    assert again.summary["layer_bits"] == found.summary["layer_bits"]


def test_the_network_is_nearer_to_full_precision_than_with_equal_widths(
    network: nn.Module, images: Tensor
) -> None:
    with torch.no_grad():
        full = network(images)
        off = [
            float((quantized(network, images, activation=32, **bits).model(images) - full).square().sum())
            for bits in ({"weight": 3}, {"budget": 3})
        ]
    assert off[1] < off[0]


def test_a_size_is_kept(network: nn.Module, images: Tensor) -> None:
    sizes = {
        bits: quantized(network, images, weight=bits).summary["size_bytes"]["quantized"] for bits in (2, 4, 8)
    }
    found = quantized(network, images, budget=f"{sizes[4]}B")
    assert 0.97 * sizes[4] < found.summary["size_bytes"]["quantized"] <= sizes[4]
    most = quantized(network, images, budget="1GB").summary["size_bytes"]["quantized"]
    assert sizes[4] < most <= sizes[8]
    with pytest.raises(
        ConfigError, match=r"bits.budget: 1kB is less than the \d\.\d kB that the network has"
    ):
        quantized(network, images, budget="1kB")


def test_what_patterns_name_is_not_chosen(network: nn.Module, images: Tensor) -> None:
    found = quantized(network, images, budget=3, layers={"third": 7}, exclude=["first.conv1"], boundary=None)
    bits = {name: one["weight"] for name, one in found.summary["layer_bits"].items()}
    assert {bits[f"third.{name}"] for name in ("expand", "depthwise", "project")} == {7}
    assert bits["first.conv1"] == 32 and bits["head"] <= 8
    with pytest.raises(ConfigError, match="there is no layer whose width can be chosen"):
        quantized(network, images, budget=3, layers={"*": 4})


def test_images_that_are_measured_on_come_from_all_over() -> None:
    images = torch.arange(400.0).view(-1, 1, 1, 1)  # sorted, as those of classes are
    learned, held = held_out(images, 0, 20)
    assert len(learned) == 300 and len(held) == len(held.unique()) == 20
    assert all(bool(((held >= at) & (held < at + 100)).any()) for at in range(0, 400, 100))
    assert not torch.isin(held, learned).any()


def test_bits_weight_is_the_fewest(network: nn.Module, images: Tensor) -> None:
    found = quantized(network, images, budget=4, weight=3)
    assert min(one["weight"] for one in found.summary["layer_bits"].values()) >= 3


@pytest.mark.parametrize(
    ("bits", "says"),
    [
        ({"budget": "12"}, "average bits must be 2 to 8"),
        ({"budget": 1}, "average bits must be 2 to 8"),
        ({"budget": "12 elephants"}, "such as 3.5, or a size such as 200kB"),
        ({"budget": True}, r"bits\.budget: .*true"),
        ({"budget": 3, "weight": 32}, "which bits.weight=32 does not quantize"),
        ({"budget": 3, "weight": 4}, "3 is less than bits.weight=4"),
    ],
)
def test_a_budget_that_is_none_is_refused(bits: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run_config({"bits": bits})


@pytest.mark.parametrize(
    ("given", "kept"), [("3", 3.0), (2.5, 2.5), ("120 kB", "120kB"), ("1.5MiB", "1.5MiB")]
)
def test_budgets(given: Any, kept: Any) -> None:
    assert run_config({"bits": {"budget": given}}).bits.budget == kept
