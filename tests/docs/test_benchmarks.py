"""docs/results/benchmarks.md is what the generator makes of the numbers beside it."""

import json
from pathlib import Path

from benchmarks.report import page

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS = DOCS / "benchmarks"


def test_the_page_is_up_to_date() -> None:
    files = sorted(path for path in NUMBERS.glob("*.json") if path.name != "growth.json")
    machines = [(path.name, json.loads(path.read_text())) for path in files]
    growth = ("growth.json", json.loads((NUMBERS / "growth.json").read_text()))
    made = page(machines, growth, "../images/growth.png")
    assert (DOCS / "results" / "benchmarks.md").read_text() == made, (
        "run python -m benchmarks.report docs/benchmarks/cpu*.json --growth docs/benchmarks/growth.json"
    )
    assert (DOCS / "images" / "growth.png").is_file()


def test_all_networks_are_there() -> None:
    for file, threads in (("cpu.json", 1), ("cpu_two_threads.json", 2)):
        content = json.loads((NUMBERS / file).read_text())
        assert content["device"]["threads"] == threads
        assert list(content["networks"]) == ["embedded", "efficientnet_lite0", "resnet18", "resnet50"]
