"""The benchmark runs and gives what it promises; its times are nobody's business here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_net import build
from torch import Tensor

from benchmarks import engine, fits, goal, networks
from benchmarks.learning import learning
from benchmarks.networks import BITS, BitsConfig, calibrate, random_images, subjects
from benchmarks.steps import Rounds, overhead
from mrecg.graph.cut import cut
from mrecg.quant.modules import activations_of
from mrecg.quant.quantized_network import QuantizedNetwork

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def tiny(name: str, device: torch.device, bits: BitsConfig = BITS) -> tuple[QuantizedNetwork, Tensor]:
    del name
    shape = (3, 16, 16)
    parts = cut(build(width=8), input_shape=shape)  # narrower, plain torch may write out of bounds
    network = QuantizedNetwork(parts.graph, parts.units, bits).to(device)
    images = random_images(shape, device)
    calibrate(network, images)
    return network, images


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "IMAGES", 40)
    monkeypatch.setattr(fits, "STEPS", 4)
    monkeypatch.setattr(fits, "CHUNK", 2)
    monkeypatch.setattr(goal, "CAP", 10)
    monkeypatch.setattr(engine, "MORE", 1)
    for module in (engine, goal):
        monkeypatch.setattr(module, "network_of", tiny)


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    file = tmp_path / "b.json"
    engine.main(
        [*options, "--network", "embedded", "--device", "cpu", "--note", "quiet", "--json", str(file)]
    )
    content: dict[str, Any] = json.loads(file.read_text())
    return content


NUMBERS = (
    *("overhead", "calibration_s", "weight_ranges_s", "calibration_passes", "prefix_s", "prefix_passes"),
    *("pass_s", "lightning_share", "lightning_share_all", "peak_memory_mb", "memory_before_mb", "cache_mb"),
)


def test_it_measures_a_network(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "FULL", {"steps": 3, "plain": 1, "passes": 2, "fits": 1})
    content = measured(tmp_path)
    assert content["device"]["torch"] and content["device"]["numba"] and content["note"] == "quiet"
    assert "platform" not in content["device"]
    found = content["networks"]["embedded"]
    assert all(isinstance(found[key], int | float) for key in NUMBERS)
    assert (
        min(
            found[key] for key in ("overhead", "calibration_s", "prefix_passes", "advance_passes", "cache_mb")
        )
        > 0
    )
    assert 0 < found["lightning_share"] < 1 and 0 < found["lightning_share_all"] < 1
    names = [unit["name"] for unit in found["units"]]
    assert len(names) == len(set(names)) > 2 and found["lightning_unit"] in names
    for unit in found["units"]:
        assert unit["floor_format"] in ("contiguous", "channels-last")
        assert min(unit[key] for key in ("step_ms", "floor_ms", "plain_ms", "lightning_ms")) > 0
        assert min(unit[key] for key in ("spread", "floor_spread", "ratio_spread")) >= 0
    sums = [sum(unit[key] for unit in found["units"]) for key in ("step_ms", "floor_ms")]
    assert found["overhead"] == pytest.approx(sums[0] / sums[1], rel=1e-2)
    reached = found["steps_to_loss"]
    assert reached["unit"] in names and (reached["steps"] is None) == (reached["seconds"] is None)
    assert reached["steps"] is None or 0 < reached["steps"] <= goal.CAP
    printed = capsys.readouterr().out
    assert f"| {names[0]} |" in printed and "activation ranges, passes (≤ 4)" in printed


def test_quick_leaves_the_plain_kernels_out(small: None, tmp_path: Path) -> None:
    found = measured(tmp_path, "--quick")["networks"]["embedded"]
    assert all(unit["plain_ms"] is None for unit in found["units"])


def test_a_file_keeps_the_other_networks_of_the_same_machine(small: None, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    content = measured(tmp_path, "--quick")
    other = {"resnet18": {}, "embedded": {}}
    file.write_text(json.dumps(content | {"networks": other}))
    assert engine.kept(file, content) == (other, "quiet")
    assert list(measured(tmp_path, "--quick")["networks"]) == ["embedded", "resnet18"]
    assert engine.kept(file, content | {"rounds": engine.FULL}) == ({}, "")
    assert engine.kept(tmp_path / "none.json", content) == engine.kept(None, content) == ({}, "")


def test_the_networks_are_those_of_conf() -> None:
    network, images = networks.network_of("embedded", CPU)
    assert len(network.units) == 19 and images.shape[1:] == (3, 32, 32)
    plan = networks.plan_of(network, 4)
    assert [len(group) for group in plan.groups] == [4, 4, 4, 4, 3]


def test_a_unit_is_given_back_as_it_was(small: None) -> None:
    subject = next(subjects(*tiny("", CPU)))
    before = {name: value.clone() for name, value in subject.low.state_dict().items()}
    weight = next(module.hard.clone() for module in subject.low.modules() if hasattr(module, "hard"))
    with learning(subject, steps=5) as module:
        optimizer = module.configure_optimizers()
        for step in range(5):
            module.step(step, optimizer)
    assert all(torch.equal(value, before[name]) for name, value in subject.low.state_dict().items())
    after = next(module for module in subject.low.modules() if hasattr(module, "hard"))
    assert torch.equal(after.hard, weight) and after.soft is None
    assert not any(q.scale.requires_grad or q.scale.grad is not None for q in activations_of(subject.low))


def test_the_loss_of_the_goal_is_that_of_hard_weights(small: None) -> None:
    subject = next(subjects(*tiny("", CPU, goal.BITS)))
    before = goal.hardened_loss(subject, None)
    with learning(subject, steps=5) as module:
        optimizer = module.configure_optimizers()
        # Soft rounding begins at the full-precision weights; hardened, it is nearest rounding.
        assert goal.hardened_loss(subject, module) == pytest.approx(before, rel=1e-5)
        module.step(0, optimizer)
        assert goal.hardened_loss(subject, module) > 0


def test_the_overhead_weighs_units_by_their_time() -> None:
    units = [
        Rounds([1.0, 2.0, 30.0], [1.0, 1.0, 1.0], "contiguous", []),
        Rounds([4.0, 4.0, 4.0], [3.0, 3.0, 3.0], "contiguous", []),
    ]
    ratio, (low, high) = overhead(units)
    assert ratio == 6 / 4 and low == (5 / 4 + 6 / 4) / 2 and high == (6 / 4 + 34 / 4) / 2
