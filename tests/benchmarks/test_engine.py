"""The benchmark runs and gives what it promises; its times are nobody's business here."""

import json
from pathlib import Path

import pytest

from benchmarks import engine


def test_it_measures_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(engine.PIXELS, "embedded", 16)
    monkeypatch.setattr(engine, "CHUNK", 2)
    engine.main(["--quick", "--network", "embedded", "--device", "cpu", "--json", str(tmp_path / "b.json")])
    content = json.loads((tmp_path / "b.json").read_text())
    found = content["networks"]["embedded"]
    assert content["device"]["torch"] and found["overhead"] > 0 and 0 <= found["lightning_share"] < 1
    assert found["calibration_s"] > found["weight_ranges_s"] > 0 and found["prefix_passes"] > 0
    assert len(found["units"]) == 19 and all(
        unit["step_ms"] > unit["floor_ms"] * 0.1 for unit in found["units"]
    )
    assert "features.18-classifier" in capsys.readouterr().out
