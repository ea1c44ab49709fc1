"""The page says what the numbers say."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.targets import missed

UNIT: dict[str, Any] = {
    "name": "stem",
    "step_ms": 12.0,
    "floor_ms": 10.0,
    "floor_format": "channels-last",
    "plain_ms": 18.0,
    "spread": 0.04,
    "floor_spread": 0.02,
    "ratio_spread": 0.06,
    "lightning_ms": 40.0,
}
NETWORK: dict[str, Any] = {
    "pixels": 32,
    "images": 64,
    "overhead": 1.25,
    "overhead_quartiles": [1.2, 1.3],
    "lightning_share": 0.021,
    "lightning_share_all": 0.004,
    "calibration_passes": 3.5,
    "weight_ranges_s": 4.0,
    "prefix_passes": 2.4,
    "advance_passes": 2.05,
    "pass_s": 0.5,
    "calibration_s": 6.0,
    "prefix_s": 1.2,
    "peak_memory_mb": 900,
    "memory_before_mb": 700,
    "steps_to_loss": {
        **{
            "unit": "stem",
            "bits": "W2A4",
            "method": "qdrop",
            "lr_rounding": 0.01,
            "fraction": 0.85,
            "cap": 500,
        },
        **{"steps": 15, "seconds": 0.31},
    },
    "units": [UNIT, UNIT | {"name": "head", "floor_ms": 6.0, "floor_format": "contiguous"}],
}
DEVICE: dict[str, Any] = {
    **{
        "device": "cpu",
        "device_name": "A Processor",
        "threads": 1,
        "memory_mb": 2048,
        "mrecg": "0",
        "torch": "1",
    },
    **{"torchvision": "2", "lightning": "3", "numpy": "4", "python": "5", "numba": "6"},
}
CONTENT: dict[str, Any] = {"device": DEVICE, "note": "All was quiet.", "networks": {"resnet18": NETWORK}}
GROWTH: dict[str, Any] = {
    "device": DEVICE,
    "note": "",
    "settings": {
        **{
            "units": [4, 8],
            "steps_a_unit": 20,
            "steps": [10, 20],
            "length": 8,
            "groups": [1, 2],
            "rounds": 5,
        },
        **{"channels": 16, "pixels": 16, "images": 64},
    },
    "units": [{"units": 4, "seconds": 2.0, "spread": 0.1}, {"units": 8, "seconds": 4.0, "spread": 0.1}],
    "steps": [{"steps": 10, "seconds": 1.0, "spread": 0.1}, {"steps": 20, "seconds": 2.0, "spread": 0.1}],
    "lines": {axis: {"slope": 0.5, "intercept": 0.0, "r2": 0.9987} for axis in ("units", "steps")},
    "memory": [
        {"units": units, "group_size": size, "cache_mb": 6.0, "optimiser_mb": 0.5, "saved_mb": 3.5 * size}
        for units in (4, 8)
        for size in (1, 2)
    ],
}


def of(**changes: Any) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    content["networks"]["resnet18"] |= changes
    return content


def test_the_page_is_made_of_the_numbers(tmp_path: Path) -> None:
    numbers, growth = tmp_path / "cpu.json", tmp_path / "g.json"
    page = tmp_path / "docs" / "results" / "b.md"
    page.parent.mkdir(parents=True)
    numbers.write_text(json.dumps(CONTENT))
    growth.write_text(json.dumps(GROWTH))
    report.main([str(numbers), "--growth", str(growth), "-o", str(page)])
    text = page.read_text()
    assert (page.parents[1] / "images" / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "## A Processor, one thread" in text and "All was quiet." in text
    assert "`OMP_NUM_THREADS=1 python -m benchmarks.engine --json docs/benchmarks/cpu.json`" in text
    assert "| `resnet18` | 1.25 (1.20 to 1.30) | 2.1 % | 3.5 | 4 s | 2.4 |" in text
    assert "| stem | 12.0 ± 2 % | 10.0 ± 1 % | channels-last | 1.20 ± 3 % | 18.0 |" in text
    assert "stem to 0.85: 15 steps, 0.31 s (qdrop, W2A4, learning rate 0.01, at most 500)" in text
    assert "![Time against units and steps, memory against units](../images/growth.png)" in text
    assert (
        "| units | 20 steps per unit | 0.5 | 0.999 |" in text and "| steps | 8 units | 0.5 | 0.999 |" in text
    )
    assert "| 2 | 8 | 6.0 | 0.50 | 7.00 |" in text


def test_without_growth_there_is_none() -> None:
    assert "## Growth" not in report.page([("cpu.json", CONTENT)], None, "images/growth.png")


def test_sixteen_threads_follow_from_one_and_two() -> None:
    def of_threads(threads: int, step: float, floor: float) -> dict[str, Any]:
        units = [UNIT | {"step_ms": step, "floor_ms": floor}]
        return {"device": {"device_name": "P", "threads": threads}, "networks": {"net": {"units": units}}}

    one = of_threads(1, 32.0, 16.0)
    (half,) = report.scaling([one, of_threads(2, 16.0, 8.0)])
    assert "| `net` | 32, 16 | 16, 8 | 0, 0 | 2.00 |" in half
    (stuck,) = report.scaling([one, of_threads(2, 33.0, 8.0)])  # noise: no more than all of it is serial
    assert "| 32, 0 | 32.00 |" in stuck
    assert not list(report.scaling([one])) and not list(report.scaling([one, of_threads(4, 8.0, 4.0)]))


def test_several_machines_stand_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "none")  # of what the check of a GPU has found
    names = {"cpu.json": {}, "cpu_two.json": {"threads": 2}}
    names["gpu.json"] = {"device": "cuda", "device_name": "A GPU", "threads": 8}
    for name, device in names.items():
        (tmp_path / name).write_text(json.dumps(CONTENT | {"device": DEVICE | device}))
    report.main([*(str(tmp_path / name) for name in names), "-o", str(tmp_path / "b.md")])
    text = (tmp_path / "b.md").read_text()
    heads = ["## A Processor, one thread", "## A Processor, 2 threads", "## A GPU"]
    heads += ["## A Processor, one and two threads", "## GPU"]
    assert [line for line in text.splitlines() if line.startswith("## ")] == heads
    one, two, gpu = (text.split(f"{head}\n")[1].split("\n## ")[0] for head in heads[:3])
    assert "`OMP_NUM_THREADS=1 python -m benchmarks.engine --json docs/benchmarks/cpu.json`" in one
    assert "`OMP_NUM_THREADS=2 python -m benchmarks.engine --json docs/benchmarks/cpu_two.json`" in two
    assert "`python -m benchmarks.engine --json docs/benchmarks/gpu.json`" in gpu
    assert "step / floor (≤ 1.3)" in one and "step / floor (≤ 1.5)" in gpu
    assert all("| stem | 12.0 ± 2 % |" in part and "Every target is met." in part for part in (one, two, gpu))


def test_all_targets_met() -> None:
    assert list(missed(CONTENT)) == []
    assert report.verdict(CONTENT) == "Every target is met."


@pytest.mark.parametrize(
    ("key", "value", "said", "cell"),
    [
        ("overhead", 1.61, "step / floor 1.61 (limit 1.3)", "**1.61** (1.20 to 1.30)"),
        ("lightning_share", 0.031, "Lightning 3.1 % (limit 3 %)", "**3.1 %**"),
        ("calibration_passes", 4.2, "activation ranges, passes 4.2 (limit 4)", "**4.2**"),
        ("prefix_passes", 2.66, "cache, passes 2.66 (limit 2.5)", "**2.66**"),
    ],
)
def test_a_miss_is_said_and_bold(key: str, value: float, said: str, cell: str) -> None:
    content = of(**{key: value})
    assert report.verdict(content) == f"Missed targets: `resnet18`: {said}."
    assert f"| {cell} |" in report.section("cpu.json", content)


def test_the_time_of_weight_ranges_is_bound_in_one_network_only() -> None:
    content = of()
    content["networks"]["efficientnet_lite0"] = content["networks"]["resnet18"]
    assert [name for name, _, _ in missed(content)] == ["efficientnet_lite0"]


def test_the_gain_of_the_kernels_needs_all_units() -> None:
    assert "| 24 | 1.50 | 0.40 % |" in report.section("cpu.json", CONTENT)
    quick = report.section("cpu.json", of(units=[UNIT, UNIT | {"plain_ms": None}]))
    assert "| 24 | – | 0.40 % |" in quick and "| 1.20 ± 3 % | – |" in quick


def test_a_loss_that_was_not_reached() -> None:
    goal = NETWORK["steps_to_loss"] | {"steps": None, "seconds": None}
    assert "stem to 0.85: not reached" in report.section("cpu.json", of(steps_to_loss=goal))
