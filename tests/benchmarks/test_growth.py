"""Growth: what is counted, and the line through it; never how long it takes."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import growth, networks
from benchmarks.footprint import MB, Footprint

pytestmark = pytest.mark.slow

SIZES = growth.Sizes(
    units=(2, 4), steps_a_unit=1, steps=(1, 2), length=2, groups=(1, 2), rounds=1, channels=4, pixels=8
)


def test_it_measures_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "IMAGES", 40)
    monkeypatch.setattr(growth, "QUICK", SIZES)
    file, picture = tmp_path / "g.json", tmp_path / "new" / "g.png"
    growth.main(["--quick", "--device", "cpu", "--json", str(file), "--plot", str(picture)])
    content = json.loads(file.read_text())
    assert [point["units"] for point in content["units"]] == [2, 4]
    assert [point["steps"] for point in content["steps"]] == [1, 2]
    assert all(point["seconds"] > 0 for axis in ("units", "steps") for point in content[axis])
    assert set(content["lines"]["units"]) == {"slope", "intercept", "r2"}
    assert content["settings"]["channels"] == 4
    assert picture.read_bytes().startswith(b"\x89PNG")
    whole = {(p["group_size"], p["units"]): p for p in content["memory"]}
    assert len(whole) == 4
    for key in ("optimiser_mb", "saved_mb"):
        assert whole[1, 2][key] == whole[1, 4][key] < whole[2, 4][key]
    assert whole[1, 4]["cache_mb"] < whole[2, 4]["cache_mb"]


def test_a_chain_has_a_unit_for_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "IMAGES", 4)
    network, images = growth.chain(3, SIZES, torch.device("cpu"))
    assert len(network.units) == 3 and images.shape[0] == 4
    assert len({unit.facts.layers[0].kind for unit in network.units}) == 1


def test_a_line_through_points_on_a_line() -> None:
    points = [{"units": x, "seconds": 2.0 * x + 1.0} for x in (1, 2, 4)]
    found = growth.line(points, "units")
    assert found["slope"] == pytest.approx(2) and found["intercept"] == pytest.approx(1)
    assert found["r2"] == pytest.approx(1)


def test_the_footprint_counts_what_a_step_holds() -> None:
    layer, x = nn.Linear(256, 256, bias=False), torch.randn(1024, 256)
    optimizer = torch.optim.Adam(layer.parameters())
    with Footprint() as found:
        for _ in range(2):
            layer(x).square().sum().backward()
            optimizer.step()
    weight, activation = 256 * 256 * 4 / MB, 1024 * 256 * 4 / MB
    assert found.optimiser_mb == pytest.approx(4 * weight, rel=1e-3)  # itself, gradient, two moments
    assert 2 * activation <= found.saved_mb <= 2 * activation + weight
    before = found.numbers()
    optimizer.step()
    assert found.numbers() == before
